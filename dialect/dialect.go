package dialect

import (
	"encoding/json"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/mozpush"
	"github.com/edition-push/edition/dialect/peer"
	"github.com/edition-push/edition/dialect/simplepush"
	"github.com/edition-push/edition/session"
)

// Options of the dialects.
type Options struct {
	// PingMin is how long a device has to wait between two pings of these
	// protocols, else its connection is closed. 0: no time.
	PingMin    time.Duration
	SimplePush simplepush.Options
	Mozilla    mozpush.Options
}

// New returns what session.Options.Talk takes.
func New(o Options) func(*session.Device) session.Talk {
	return func(d *session.Device) session.Talk {
		p := peer.New(d, o.PingMin)
		return &talk{Talk: simplepush.New(p, &o.SimplePush), peer: p, o: &o}
	}
}

// talk is a connection whose dialect is not decided before its hello. Until
// then, and for all that is no hello, it is SimplePush.
type talk struct {
	session.Talk // changed by Take alone, before anything is held
	peer         *peer.Peer
	o            *Options
	decided      bool
}

// Take implements session.Talk.
func (t *talk) Take(message []byte) {
	if !t.decided && t.decide(message) {
		return
	}
	t.Talk.Take(message)
}

// decide is true when the message is one of edition.v1.
func (t *talk) decide(message []byte) (declined bool) {
	var m struct {
		Kind     json.RawMessage `json:"messageType"`
		WebPush  json.RawMessage `json:"use_webpush"`
		Channels json.RawMessage `json:"channelIDs"`
		Type     json.RawMessage `json:"type"`
	}
	if !peer.Read(message, &m) {
		return false
	}
	if len(m.Kind) == 0 && len(m.Type) > 0 && t.peer.Decline() {
		return true
	}
	if kind, _ := peer.Kind(m.Kind); kind == "hello" {
		t.decided = true
		// Some clients of Mozilla's, such as KDE's KUnifiedPush, say neither
		// the subprotocol nor use_webpush; those of SimplePush must say
		// channelIDs.
		tacit := len(m.WebPush) == 0 && len(m.Channels) == 0 && !t.peer.Named()
		if string(m.WebPush) == "true" || tacit {
			t.Talk = mozpush.New(t.peer, &t.o.Mozilla)
		}
	}
	return false
}

// Update implements session.Talk.
func (t *talk) Update(u edition.Update, bodies []*edition.Body) { t.Talk.Update(u, bodies) }
