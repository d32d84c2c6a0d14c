// Package publish is the door for app servers: it makes endpoints, and takes
// versions for them by PUT, one at a time, or by POST to /v1/events in batches,
// and messages by POST to an endpoint, as Web Push has it (RFC 8030, RFC 8292).
//
// It promises that a 2xx answer leaves only when the store's receipt says that
// the version or message is durable or delivered (promise 1 of the design), or
// that a message was worth nothing later; that only endpoints made here are
// looked up, and those of one application server take what it has signed only;
// and that neither an endpoint, nor a whole UAID, nor a body is ever logged. It
// does not decide what becomes of an event: that is the deliver function's part.
// It does not decrypt. See docs/protocol.md, section 1.
package publish
