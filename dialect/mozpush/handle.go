package mozpush

import (
	"crypto/ecdh"
	"encoding/json"
	"errors"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/dialect/peer"
	"github.com/edition-push/edition/wire"
)

type reply struct {
	Type      string `json:"messageType"`
	ChannelID string `json:"channelID,omitempty"`
	Status    int    `json:"status"`
	Endpoint  string `json:"pushEndpoint,omitempty"`
	Error     string `json:"error,omitempty"`
}

// channelOf reads a channelID. A browser writes a UUIDv4 of 36 characters in
// lower case, and is told of it so.
func channelOf(raw json.RawMessage) (app edition.AppID, text string, ok bool) {
	text, ok = peer.Text(raw)
	if !ok {
		return app, "", false
	}
	app, err := edition.ParseAppID(text)
	return app, text, err == nil && app.String() == text
}

func (t *Talk) register(m *request) {
	answer := reply{Type: "register", Status: 200}
	app, text, ok := channelOf(m.ChannelID)
	answer.ChannelID = text
	if !ok {
		answer.Status, answer.Error = 401, "channelID is not a UUIDv4 in lower case"
		t.Reply(peer.Marshal(answer))
		return
	}
	key, err := keyOf(m.Key)
	if err == nil {
		answer.Endpoint, err = t.Subscribe(edition.Registration{Key: edition.Key{AppID: app}, AppKey: key})
	}
	switch {
	case errors.Is(err, edition.ErrMalformed):
		answer.Status, answer.Error = 400, errKey.Error()
	case err != nil:
		if answer.Status = peer.Status(err); answer.Status == 500 {
			t.Log().Error("a registration failed", "err", err)
		}
		answer.Error = "try again later"
	}
	t.Reply(peer.Marshal(answer))
}

var errKey = errors.New("key is not a point on P-256, uncompressed, in base64url")

// keyOf reads a VAPID public key (RFC 8292 §3.2), nil when there is none. A bad
// one is edition.ErrMalformed.
func keyOf(raw json.RawMessage) ([]byte, error) {
	if peer.Absent(raw) {
		return nil, nil
	}
	text, ok := peer.Text(raw)
	var key wire.Data
	if !ok || key.UnmarshalText([]byte(text)) != nil {
		return nil, edition.ErrMalformed
	}
	if _, err := ecdh.P256().NewPublicKey(key); err != nil {
		return nil, edition.ErrMalformed
	}
	return key, nil
}

func (t *Talk) unregister(m *request) {
	answer := reply{Type: "unregister", Status: 200}
	app, text, ok := channelOf(m.ChannelID)
	answer.ChannelID = text
	switch {
	case !ok:
		answer.Status, answer.Error = 401, "channelID is not a UUIDv4 in lower case"
	default:
		if err := t.Unsubscribe(app); err != nil {
			answer.Status, answer.Error = peer.Status(err), "try again later"
		}
	}
	t.Log().Debug("a device withdraws an endpoint", "uaid", t.UAID, "code", codeOf(m.Code), "status", answer.Status)
	t.Reply(peer.Marshal(answer))
}

// ack takes the messages that are named. The code says whether the browser
// could use one (100), decrypt it (101) or deliver it (102): it is done with it
// in any case.
func (t *Talk) ack(m *request) error {
	items, ok := peer.List(m.Updates)
	if !ok {
		return errMessage
	}
	u := make(edition.Update, 0, len(items))
	for _, item := range items {
		var one struct {
			Version json.RawMessage `json:"version"`
			Code    json.RawMessage `json:"code"`
		}
		if !peer.Read(item, &one) {
			return errMessage
		}
		text, _ := peer.Text(one.Version)
		slot, version, ok := openMark(text)
		if !ok {
			continue // of another server, before the device came here
		}
		if code := codeOf(one.Code); code > 100 {
			t.Log().Debug("a device could not use a message", "uaid", t.UAID, "code", code)
		}
		u = append(u, edition.Event{Key: edition.Key{UAID: t.UAID, AppID: slot}, Version: version})
	}
	t.Ack(u)
	return nil
}
