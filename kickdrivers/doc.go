// Package kickdrivers wakes parties that have something pending and are not
// connected: the list of drivers, and the dispatcher that decides when.
//
// It promises that a kick is only a hint that is derived from the store and
// never queued (before each attempt it asks whether the party is still due and
// how to reach it), that no party is kicked more often than its driver's
// policy allows, and no target, however many devices name it, and that a device
// can only aim kicks at what the operator's configuration allows. All timing
// lives here: coalescing, grace, lists of routes, limits, retries, breakers. A
// driver makes one attempt and says what happened.
//
// It does not know the hub, carries no versions, and keeps nothing across a
// restart. README.md tells how to add a driver.
package kickdrivers
