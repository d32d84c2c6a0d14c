// Package publish is the door for app servers: it makes endpoints, and takes
// versions for them by PUT, one at a time, or by POST in batches.
//
// It promises that a 2xx answer leaves only when the store's receipt says that
// the version is durable or delivered (promise 1 of the design), that only
// endpoints made here are looked up, and that neither an endpoint nor a whole
// UAID is ever logged. It does not decide what becomes of an event: that is
// the deliver function's part. See docs/protocol.md, section 1.
package publish
