// Package serve is what both roles share as processes: the data folder and
// the store in it, the two listeners, the health and metrics page, and the
// order of starting and stopping.
//
// It promises that a stop loses nothing: new events are refused first, then
// connections are closed over the drain time, then the store makes its last
// commit; and that a failed disk ends the process instead of being hidden. It
// knows nothing of what a role is made of.
package serve
