package serve

import (
	"io"
	"net/http"
)

// maxRest is how much of a body that a handler did not want is read
// nevertheless, in bytes: as much as net/http reads of it where it does so.
const maxRest = 256 << 10

// readRest reads to its end what a request's handler has left of the body,
// when the connection closes after the answer. net/http does so for
// connections that stay open only; on others the answer to a peer that is
// still sending may be lost to a reset, and with it why it was refused. Who
// asked whether to send a body at all is not waited for.
func readRest(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.Close && r.ContentLength != 0 && len(r.Header["Expect"]) == 0 {
			io.CopyN(io.Discard, r.Body, maxRest) //nolint:errcheck // what was said is said
		}
	})
}
