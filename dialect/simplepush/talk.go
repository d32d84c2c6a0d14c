package simplepush

import (
	"encoding/json"
	"errors"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/peer"
)

// Options of the dialect.
type Options struct {
	// MaxChannels is how many channels a hello may name: beyond, the device is
	// given a new UAID.
	MaxChannels int
	// Last lets a version below one that was acknowledged take its place.
	Last bool
	// Lax takes any text up to 100 bytes for a uaid or a channelID.
	Lax bool
	// Carrier answers the hello of a device that can be woken with 201.
	Carrier bool
}

// Talk is the dialect on one connection. It implements session.Talk.
type Talk struct {
	*peer.Peer

	// Fixed after construction.
	o         *Options
	spellings *peer.Spellings

	said string // Owned by Take. The UAID as the device writes it.
}

// New returns the Talk of a connection.
func New(p *peer.Peer, o *Options) *Talk {
	return &Talk{Peer: p, o: o, spellings: peer.NewSpellings(max(o.MaxChannels, minSpellings))}
}

// minSpellings bounds the channels of unusual spelling on one connection, when
// no more are allowed anyhow.
const minSpellings = 2000

// request is every message of a client.
type request struct {
	Type       json.RawMessage `json:"messageType"`
	UAID       json.RawMessage `json:"uaid"`
	ChannelIDs json.RawMessage `json:"channelIDs"`
	ChannelID  json.RawMessage `json:"channelID"`
	Updates    json.RawMessage `json:"updates"`
	peer.Wakeup
}

// What a message can do wrong. Other errors of a handler are the server's.
var (
	errCommand  = errors.New("no such command, or not now")           // 401
	errConflict = errors.New("a connection has one uaid")             // 503
	errChannels = errors.New("too many channels of unusual spelling") // 503
	errPing     = errors.New("a ping too soon")                       // closes
)

// Take implements session.Talk.
func (t *Talk) Take(message []byte) {
	var m request
	if !peer.Read(message, &m) {
		t.Close(websocket.CloseInvalidFramePayloadData, "not a JSON object")
		return
	}
	kind, ok := peer.Kind(m.Type)
	if peer.IsEmpty(message) {
		kind = "ping"
	}
	if !t.Note(kind) {
		return
	}
	err := errCommand
	if ok {
		err = t.handle(kind, &m, len(message))
	}
	if err != nil {
		t.fail(message, err)
	}
}

func (t *Talk) handle(kind string, m *request, size int) error {
	switch kind {
	case "ping":
		if !t.Ping() {
			return errPing
		}
		t.Reply([]byte("{}"))
		return nil
	case "purge":
		t.Reply([]byte("{}"))
		return nil
	case "hello":
		return t.hello(m, size)
	}
	if !t.Held {
		return errCommand
	}
	switch kind {
	case "register":
		return t.register(m)
	case "unregister":
		return t.unregister(m)
	case "ack":
		return t.ack(m)
	}
	return errCommand
}

// fail answers with the request itself, a status and an error, in the words of
// pushgo, and closes. A ping that comes too soon gets no answer.
func (t *Talk) fail(message []byte, err error) {
	status, text, code := 500, "An unexpected error occurred", websocket.CloseInternalServerErr
	switch {
	case errors.Is(err, errPing):
		t.Close(websocket.ClosePolicyViolation, err.Error())
		return
	case errors.Is(err, errConflict), errors.Is(err, errChannels), peer.Status(err) == 503:
		status, text, code = 503, "Service Unavailable", websocket.CloseTryAgainLater
	case errors.Is(err, errCommand), peer.Status(err) == 401:
		status, text, code = 401, "Invalid Command", websocket.ClosePolicyViolation
	default:
		t.Log().Error("a message failed", "err", err)
	}
	if b, ok := peer.Echo(message, status, text); ok {
		t.Reply(b)
	}
	t.Close(code, text)
}

// notification is what a device is told.
type notification struct {
	Type    string   `json:"messageType"`
	Updates []update `json:"updates"`
}

type update struct {
	ChannelID string          `json:"channelID"`
	Version   edition.Version `json:"version"`
	Data      string          `json:"data,omitempty"`
}

// Update implements session.Talk. A message is told as a version of its app,
// which it has been given by the server; of data that is not text the device
// gets the base64url form (RFC 4648 §5) without padding.
func (t *Talk) Update(u edition.Update, bodies []*edition.Body) {
	n := notification{Type: "notification", Updates: make([]update, 0, len(u))}
	for i, e := range u {
		var b *edition.Body
		if bodies != nil {
			b = bodies[i]
		}
		one := update{Version: e.Version}
		switch {
		case b != nil:
			one.ChannelID, one.Data = t.spellings.Of(b.AppID), dataOf(b)
		case e.AppID.IsSlot():
			continue // was replaced, or has expired, just now
		default:
			one.ChannelID = t.spellings.Of(e.AppID)
		}
		n.Updates = append(n.Updates, one)
	}
	if len(n.Updates) > 0 {
		t.Send(peer.Marshal(n))
	}
}
