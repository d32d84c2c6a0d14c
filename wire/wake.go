package wire

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/edition-push/edition"
)

// PathKicks takes WakeRequests, and below it shows what became of them.
const PathKicks = "/v1/kicks"

// WakeRequest asks for one kick now: the body of POST /v1/kicks, and, from an
// upstream to a relay, the field Wake of a message of type "wake". It names a
// device by UAID, or a route as a device would register it.
type WakeRequest struct {
	UAID *edition.UAID `json:"uaid,omitempty"`
	// Kick is an object or a list of objects such as {"driver":"udp",…}.
	Kick json.RawMessage `json:"kick,omitempty"`
	// From is the address that the device was last seen at, where the caller
	// knows it: a driver may allow kicks to this address only.
	From netip.Addr `json:"from,omitzero"`
	// Confirm is a code that the kick is to carry: the device has to repeat it
	// to the caller before the caller goes on using this route. It belongs to
	// Kick.
	Confirm string `json:"confirm,omitempty"`
}

// WakeResult is what became of a kick. Outcome is a word of package
// kickdrivers: "sent", "gone", "refused", "failed", "rate_limited",
// "breaker_open", "gave_up", and, once it is known, "answered" or "unanswered".
type WakeResult struct {
	Outcome    string `json:"outcome"`
	Driver     string `json:"driver,omitempty"` // which was used last
	Detail     string `json:"detail,omitempty"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
}

// Wake is a request to a relay that polls: what a message of type TypeWake is on
// its WebSocket.
type Wake struct {
	ID   uint64      `json:"id"` // 1 and up
	Wake WakeRequest `json:"wake"`
}

// Woken answers a Wake.
type Woken struct {
	ID    uint64     `json:"id"`
	Woken WakeResult `json:"woken"`
}

// WakeState is the answer of GET /v1/kicks/{id}, and, with the state
// "waiting", of POST /v1/kicks.
type WakeState struct {
	ID    string    `json:"id"`
	State string    `json:"state"` // "waiting", "done"
	Since time.Time `json:"since"`
	WakeResult
}
