package mozpush

import (
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/gorilla/websocket"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/peer"
)

// Options of the dialect.
type Options struct {
	// Backlog is how many versions and messages may wait for a device; over
	// it, the device gets a new UAID at its next hello, and its pages subscribe
	// again. 0: any number.
	Backlog int
}

// Talk is the dialect on one connection. It implements session.Talk.
type Talk struct {
	*peer.Peer

	o    *Options // Fixed after construction.
	said string   // Owned by Take. The UAID as the device writes it.
}

// New returns the Talk of a connection.
func New(p *peer.Peer, o *Options) *Talk { return &Talk{Peer: p, o: o} }

// request is every message of a client.
type request struct {
	Type      json.RawMessage `json:"messageType"`
	UAID      json.RawMessage `json:"uaid"`
	ChannelID json.RawMessage `json:"channelID"`
	Key       json.RawMessage `json:"key"`
	Updates   json.RawMessage `json:"updates"`
	Version   json.RawMessage `json:"version"`
	Code      json.RawMessage `json:"code"`
	peer.Wakeup
}

// What ends a connection. A request that is answered with a status does not.
var (
	errObject  = errors.New("not a JSON object")
	errMessage = errors.New("no such message, or not now")
	errHello   = errors.New("a connection has one uaid")
	errPing    = errors.New("a ping too soon")
)

// Take implements session.Talk.
func (t *Talk) Take(message []byte) {
	var m request
	if !peer.Read(message, &m) {
		t.end(errObject)
		return
	}
	kind, ok := peer.Kind(m.Type)
	if peer.IsEmpty(message) {
		kind = "ping"
	}
	if !t.Note(kind) {
		return
	}
	err := errMessage
	if ok {
		err = t.handle(kind, &m, len(message))
	}
	if err != nil {
		t.end(err)
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
	case "hello":
		return t.hello(m, size)
	}
	if !t.Held {
		return errMessage
	}
	switch kind {
	case "register":
		t.register(m)
	case "unregister":
		t.unregister(m)
	case "ack":
		return t.ack(m)
	case "nack":
		t.Log().Debug("a device could not use a message", "uaid", t.UAID, "code", codeOf(m.Code))
	case "broadcast_subscribe":
		t.Reply([]byte(`{"messageType":"broadcast","broadcasts":{}}`))
	default:
		return errMessage
	}
	return nil
}

// end closes the connection. A browser comes back by itself.
func (t *Talk) end(err error) {
	code := websocket.CloseInternalServerErr
	switch {
	case errors.Is(err, errObject):
		code = websocket.CloseInvalidFramePayloadData
	case errors.Is(err, errMessage), errors.Is(err, errHello), errors.Is(err, errPing):
		code = websocket.ClosePolicyViolation
	case peer.Status(err) == 503:
		code, err = websocket.CloseTryAgainLater, errAway
	default:
		t.Log().Error("a message failed", "err", err)
		err = errFault
	}
	t.Close(code, err.Error())
}

var (
	errAway  = errors.New("come back later")
	errFault = errors.New("a fault of the server")
)

type helloReply struct {
	Type       string   `json:"messageType"`
	UAID       string   `json:"uaid"`
	Status     int      `json:"status"`
	WebPush    bool     `json:"use_webpush"`
	Broadcasts struct{} `json:"broadcasts"`
}

// hello takes the UAID that the device says when it is known, and gives it a
// new one when it is not: the browser then drops its subscriptions, and pages
// make new ones.
func (t *Talk) hello(m *request, size int) error {
	said, _ := peer.Text(m.UAID)
	switch {
	case !t.Held:
		if err := t.identify(said); err != nil {
			return err
		}
	case said != "":
		if uaid, ok := peer.ParseUAID(said, false); !ok || uaid != t.UAID {
			return errHello
		}
	}
	if !peer.Absent(m.HostPort) { // KaiOS; browsers on the desktop never
		t.Woken(t.UAID, t.Known, m.Routes(t.Device, size))
	}
	t.Held = true
	t.Hold(t.UAID, func() {
		t.Reply(peer.Marshal(helloReply{Type: "hello", UAID: t.said, Status: 200, WebPush: true}))
	})
	return nil
}

func (t *Talk) identify(said string) error {
	uaid, ok := peer.ParseUAID(said, false)
	if ok {
		usable, known, err := t.Identify(uaid)
		if err != nil {
			return err
		}
		ok = usable && known
	}
	if ok && t.o.Backlog > 0 {
		n, err := t.Pending(uaid)
		if err != nil {
			return err
		}
		if n > t.o.Backlog {
			if err := t.Drop(uaid); err != nil {
				return err
			}
			ok = false
		}
	}
	t.UAID, t.said, t.Known = uaid, said, ok
	if !ok {
		t.UAID = edition.NewUAID()
		t.said = hex.EncodeToString(t.UAID[:]) // as Mozilla's service writes it
	}
	return nil
}

// codeOf reads one of the codes that browsers give reasons by, for the log.
func codeOf(raw json.RawMessage) uint64 {
	v, _ := peer.Number(raw)
	return uint64(v)
}
