package simplepush

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/peer"
)

type helloReply struct {
	Type   string `json:"messageType"`
	UAID   string `json:"uaid"`
	Status int    `json:"status"`
}

// hello takes the UAID that the device says, or gives it one, and how it is
// woken. A hello after the first one has what is pending sent again.
func (t *Talk) hello(m *request, size int) error {
	said, ok := peer.Text(m.UAID)
	if !ok && !peer.Absent(m.UAID) {
		return errCommand
	}
	channels, ok := peer.List(m.ChannelIDs)
	if !ok {
		return errCommand
	}
	if t.Held {
		if uaid, ok := peer.ParseUAID(said, t.o.Lax); said != "" && (!ok || uaid != t.UAID) {
			return errConflict
		}
	} else if err := t.identify(said, len(channels)); err != nil {
		return err
	}
	for _, raw := range channels {
		if text, ok := peer.Text(raw); ok {
			if app, ok := peer.ParseApp(text, t.o.Lax); ok {
				t.spellings.Note(app, text)
			}
		}
	}
	routes := m.Routes(t.Device, size)
	t.Woken(t.UAID, t.Known, routes)
	status := 200
	if t.o.Carrier && t.Wakeable(routes) {
		status = 201
	}
	t.Held = true
	t.Hold(t.UAID, func() {
		t.Reply(peer.Marshal(helloReply{Type: "hello", UAID: t.said, Status: status}))
	})
	return nil
}

// identify settles the UAID. One that is unknown and names channels has lost
// its registrations, so the device is given a new one and registers again; as
// is one that names more channels than it may have.
func (t *Talk) identify(said string, channels int) error {
	uaid, ok := peer.ParseUAID(said, t.o.Lax)
	if ok {
		usable, known, err := t.Identify(uaid)
		if err != nil {
			return err
		}
		switch {
		case known && channels > t.o.MaxChannels:
			if err := t.Drop(uaid); err != nil {
				return err
			}
			ok = false
		case !usable, !known && channels > 0:
			ok = false
		}
		t.Known = ok && known
	}
	t.UAID, t.said = uaid, said
	if !ok {
		t.UAID = edition.NewUAID()
		t.said = t.UAID.String()
	}
	return nil
}

type registerReply struct {
	Type      string `json:"messageType"`
	Status    int    `json:"status"`
	ChannelID string `json:"channelID"`
	Endpoint  string `json:"pushEndpoint"`
}

func (t *Talk) register(m *request) error {
	text, ok := peer.Text(m.ChannelID)
	if !ok {
		return errCommand
	}
	app, ok := peer.ParseApp(text, t.o.Lax)
	if !ok {
		return errCommand
	}
	if !t.spellings.Note(app, text) {
		return errChannels
	}
	endpoint, err := t.Subscribe(edition.Registration{Key: edition.Key{AppID: app}, Last: t.o.Last})
	if err != nil {
		return err
	}
	t.Reply(peer.Marshal(registerReply{Type: "register", Status: 200, ChannelID: text, Endpoint: endpoint}))
	return nil
}

type unregisterReply struct {
	Type      string `json:"messageType"`
	Status    int    `json:"status"`
	ChannelID string `json:"channelID"`
}

// unregister is always answered with 200: a client forgets the channel in any
// case, and does not ask twice.
func (t *Talk) unregister(m *request) error {
	text, ok := peer.Text(m.ChannelID)
	if !ok || text == "" {
		return errCommand
	}
	if app, ok := peer.ParseApp(text, t.o.Lax); ok {
		t.Unsubscribe(app) //nolint:errcheck // it is logged
	}
	t.Reply(peer.Marshal(unregisterReply{Type: "unregister", Status: 200, ChannelID: text}))
	return nil
}

// ack takes the versions that are named, and says nothing.
func (t *Talk) ack(m *request) error {
	items, ok := peer.List(m.Updates)
	if !ok || peer.Absent(m.Updates) {
		return errCommand
	}
	u := make(edition.Update, 0, len(items))
	for _, item := range items {
		var one struct {
			ChannelID json.RawMessage `json:"channelID"`
			Version   json.RawMessage `json:"version"`
		}
		if !peer.Read(item, &one) {
			return errCommand
		}
		text, ok := peer.Text(one.ChannelID)
		v, isNumber := peer.Number(one.Version)
		if !ok || !isNumber {
			return errCommand
		}
		if app, ok := peer.ParseApp(text, t.o.Lax); ok {
			u = append(u, edition.Event{Key: edition.Key{UAID: t.UAID, AppID: app}, Version: v})
		}
	}
	t.AckApps(u)
	return nil
}

// dataOf is what a device is told of a body.
func dataOf(b *edition.Body) string {
	if b.Encoding == "" && utf8.Valid(b.Data) {
		return string(b.Data)
	}
	return base64.RawURLEncoding.EncodeToString(b.Data)
}
