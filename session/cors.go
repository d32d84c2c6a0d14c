package session

import (
	"net/http"

	"github.com/edition-push/edition/wire"
)

// cors lets pages of any origin use the device paths (WHATWG Fetch, "CORS
// protocol"): what they can do is shown by secrets that they bring, and no
// cookie or address gives more. It is true when the request was a preflight,
// which it has answered.
func cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	method := http.MethodPost
	switch r.URL.Path {
	case wire.PathEvents:
		method = http.MethodGet
	case wire.PathUpdate, wire.PathAck, wire.PathRegister, wire.PathUnregister, wire.PathKick:
	default:
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", method)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Allow", method+", OPTIONS")
	w.WriteHeader(http.StatusNoContent)
	return true
}
