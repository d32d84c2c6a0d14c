package wire

import (
	"encoding/json"
	"fmt"

	"github.com/edition-push/edition"
)

// Agent is one device's claim in a hello or a REST request. A device shows its
// Secret; an authenticated relay shows the Proof, the secret's hash.
type Agent struct {
	UAID   edition.UAID   `json:"uaid"`
	Secret string         `json:"secret,omitempty"`
	Proof  *edition.Proof `json:"proof,omitempty"`
	// Age is how long ago the device showed up behind the relay that says so,
	// in milliseconds: it may have been elsewhere since.
	Age int64 `json:"age,omitempty"`
}

// Message is one WebSocket message, of every type in both directions: the
// fields that a type does not use are absent. docs/protocol.md lists them.
type Message struct {
	Type   string `json:"type"`
	Status int    `json:"status,omitempty"`

	// hello
	Agents  []Agent        `json:"agents,omitempty"`
	Relay   string         `json:"relay,omitempty"`
	Store   string         `json:"store,omitempty"`   // the ID of the relay's store
	Custody string         `json:"custody,omitempty"` // asked for, and granted
	UAIDs   []edition.UAID `json:"uaids,omitzero"`    // accepted; in an ack: whose update
	Refused []edition.UAID `json:"refused,omitzero"`
	Gone    []Gone         `json:"gone,omitempty"`
	// Way names, to a relay, the store that answers and those above it.
	Way []string `json:"way,omitempty"`

	// register, unregister, kick
	UAID     *edition.UAID   `json:"uaid,omitempty"`
	AppID    *edition.AppID  `json:"appid,omitempty"`
	Secret   string          `json:"secret,omitempty"`
	Proof    *edition.Proof  `json:"proof,omitempty"`
	Upstream string          `json:"upstream,omitempty"`
	Kick     json.RawMessage `json:"kick,omitempty"`
	Endpoint string          `json:"endpoint,omitempty"`
	Key      Data            `json:"key,omitempty"`     // see RegisterRequest
	Last     bool            `json:"last,omitempty"`    // see RegisterRequest
	Confirm  string          `json:"confirm,omitempty"` // a code that came in a kick
	// Confirming names the drivers whose routes wait for their code.
	Confirming []string `json:"confirming,omitempty"`

	// wake, woken: to and from a relay, with ID
	Wake  *WakeRequest `json:"wake,omitempty"`
	Woken *WakeResult  `json:"woken,omitempty"`

	// update, ack
	ID      uint64  `json:"id,omitempty"` // 1 and up
	Updates Updates `json:"updates,omitempty"`
	State   string  `json:"state,omitempty"`
	// Messages are what events of an update carry: to relays, and to devices
	// that ask for Bodies in their hello.
	Messages []Carried `json:"messages,omitempty"`
	Bodies   bool      `json:"bodies,omitempty"`
	Urgency  string    `json:"urgency,omitempty"` // in a device's hello: less urgent messages wait

	// error
	Title      string `json:"title,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Of         string `json:"of,omitempty"`          // the type of the message that failed
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
}

// Gone says which of a device's routes do not work any more: it is to register
// anew how it is woken. UAID is nil for a relay itself.
type Gone struct {
	UAID    *edition.UAID `json:"uaid,omitempty"`
	Drivers []string      `json:"drivers"`
}

// check finds what the types of the fields let pass.
func (m *Message) check() error       { return checkAgents(m.Agents) }
func (r *UpdateRequest) check() error { return checkAgents(r.Agents) }
func (r *AckRequest) check() error    { return checkAgents(r.Agents) }

func checkAgents(agents []Agent) error {
	for i := range agents {
		if agents[i].UAID == (edition.UAID{}) {
			return fmt.Errorf("%w: agents[%d] has no uaid", edition.ErrMalformed, i)
		}
	}
	return nil
}

// RegisterRequest is the body of POST /v1/register, /v1/unregister (no Kick)
// and /v1/kick (no AppID; Relay instead of UAID and Secret for a relay itself;
// Kick or Confirm).
type RegisterRequest struct {
	UAID     *edition.UAID   `json:"uaid,omitempty"`
	Secret   string          `json:"secret,omitempty"`
	Proof    *edition.Proof  `json:"proof,omitempty"`
	AppID    *edition.AppID  `json:"appid,omitempty"`
	Upstream string          `json:"upstream,omitempty"`
	Kick     json.RawMessage `json:"kick,omitempty"`
	// Key, of a registration, is the only VAPID key that may send to the
	// endpoint, see [edition.Registration].
	Key Data `json:"key,omitempty"`
	// Last, of a registration that a relay passes up, says that the app's
	// versions need not rise, see [edition.Registration].
	Last    bool   `json:"last,omitempty"`
	Confirm string `json:"confirm,omitempty"`
	Relay   string `json:"relay,omitempty"`
}

// RegisterResponse answers POST /v1/register.
type RegisterResponse struct {
	UAID     edition.UAID  `json:"uaid"`
	AppID    edition.AppID `json:"appid"`
	Endpoint string        `json:"endpoint"`
	// Confirming names the drivers whose routes wait for their code.
	Confirming []string `json:"confirming,omitempty"`
}

// KickResponse answers POST /v1/kick when codes are waited for; else it is 204.
type KickResponse struct {
	Confirming []string `json:"confirming"`
}

// UpdateRequest is the body of POST /v1/update: a device's or a relay's poll.
type UpdateRequest struct {
	Agents  []Agent `json:"agents,omitempty"`
	Relay   string  `json:"relay,omitempty"`
	Store   string  `json:"store,omitempty"`
	Custody string  `json:"custody,omitempty"`
	Wait    string  `json:"wait,omitempty"`   // a Go duration such as "30s"
	Ack     Updates `json:"ack,omitempty"`    // delivered; applied first
	Bodies  bool    `json:"bodies,omitempty"` // of a device: as in hello
	Urgency string  `json:"urgency,omitempty"`
	Woken   []Woken `json:"woken,omitempty"`
}

// UpdateResponse answers POST /v1/update.
type UpdateResponse struct {
	Updates Updates `json:"updates"`
	// Messages are what events carry: to a relay, or who asked for Bodies.
	Messages []Carried      `json:"messages,omitempty"`
	Refused  []edition.UAID `json:"refused,omitempty"`
	Gone     []Gone         `json:"gone,omitempty"`
	Wakes    []Wake         `json:"wakes,omitempty"` // to a relay
}

// AckRequest is the body of POST /v1/ack.
type AckRequest struct {
	Agents  []Agent        `json:"agents,omitempty"`
	Relay   string         `json:"relay,omitempty"`
	Store   string         `json:"store,omitempty"` // the ID of the relay's store that State and Refuse speak of
	State   string         `json:"state,omitempty"`
	UAIDs   []edition.UAID `json:"uaids,omitempty"` // refused with 409 when Updates is absent
	Updates Updates        `json:"updates,omitempty"`
	Refuse  Updates        `json:"refuse,omitempty"` // a relay's TypeRefuse
	Bodies  bool           `json:"bodies,omitempty"` // of a device: as in hello
	Woken   []Woken        `json:"woken,omitempty"`
}
