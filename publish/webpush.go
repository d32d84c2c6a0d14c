package publish

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// passing is how long a message with a TTL of 0 is kept for a device that is
// connected: as long as it may take on its way, also through relays.
const passing = 5 * time.Second

// Content codings of bodies that are encrypted for an app.
const (
	codingAES128GCM = "aes128gcm" // RFC 8291
	codingAESGCM    = "aesgcm"    // its drafts
)

var (
	errMessageSize = fmt.Errorf("%w: a message has at most %d bytes", edition.ErrTooLarge, edition.MaxBody)
	errUnencrypted = fmt.Errorf("%w: a message must be encrypted, with Content-Encoding aes128gcm or aesgcm, or empty", edition.ErrMalformed)
	errMsgCoding   = fmt.Errorf("%w: Content-Encoding must be aes128gcm or aesgcm", edition.ErrMediaType)
	errAESGCM      = fmt.Errorf("%w: aesgcm needs the headers Encryption with salt= and Crypto-Key with dh=, of at most %d bytes", edition.ErrMalformed, edition.MaxBodyHead)
	// errEvicted: what was sent had to make room before it was kept.
	errEvicted = edition.RetryAfter(fmt.Errorf("%w: other messages for this device took its place", edition.ErrTooMany), time.Minute)
)

// message is one POST to an endpoint (RFC 8030 §5).
type message struct {
	body  edition.Body
	slot  edition.AppID
	topic bool
	ttl   time.Duration // as it is echoed; that of the body is never 0
}

// post takes one message and answers when it is durable or delivered.
func (p *Publisher) post(w http.ResponseWriter, r *http.Request, ep Endpoint) {
	c := p.pool.Get().(*call)
	defer p.pool.Put(c)

	var made parcel
	m, err := p.readMessage(w, r, ep, c)
	if err == nil {
		made, err = p.send(r, ep, &m, c)
	}
	if err != nil {
		p.refuse(w, doorPost, ep.UAID, err)
		return
	}
	h := w.Header()
	h["Access-Control-Expose-Headers"] = corsShowPost
	h["Location"] = []string{p.messages + p.keys.sealParcel(formatMessage, made)}
	h["Ttl"] = []string{strconv.FormatInt(int64(m.ttl/time.Second), 10)}
	if !m.body.Receipt {
		w.WriteHeader(http.StatusCreated)
		return
	}
	h["Link"] = []string{"<" + p.receipts + p.keys.sealParcel(formatReceipt, made) + `>; rel="` + relReceipt + `"`}
	w.WriteHeader(http.StatusAccepted)
}

// readMessage reads a request, the sender's credentials first.
func (p *Publisher) readMessage(w http.ResponseWriter, r *http.Request, ep Endpoint, c *call) (m message, err error) {
	who, err := p.sender(r.Header)
	if err == nil {
		err = ep.mayBeSentTo(who)
	}
	if err != nil {
		return m, err
	}
	m.body.AppID = ep.AppID
	if m.ttl, err = ttlOf(r.Header); err != nil {
		return m, err
	}
	if m.body.Urgency, err = urgencyOf(r.Header); err != nil {
		return m, err
	}
	topic, err := topicOf(r.Header)
	if err != nil {
		return m, err
	}
	if m.body.Receipt = wantsReceipt(r.Header); m.body.Receipt {
		if err := p.checkLink(r.Header); err != nil {
			return m, err
		}
	}
	if m.body.Data, err = readData(r, c); err != nil {
		return m, err
	}
	if err := m.decode(w, r.Header); err != nil {
		return m, err
	}
	if m.topic = topic != ""; m.topic {
		m.slot = edition.TopicSlot(ep.AppID, topic)
	} else {
		m.slot = p.slots.Next(time.Now())
	}
	m.body.TTL = m.ttl
	if m.ttl == 0 {
		m.body.TTL = passing
	}
	return m, nil
}

// readData reads the body of a message, nil when it is empty.
func readData(r *http.Request, c *call) ([]byte, error) {
	if r.ContentLength > edition.MaxBody {
		return nil, errMessageSize
	}
	n, err := c.read(r.Body)
	switch {
	case err != nil:
		return nil, err
	case n > edition.MaxBody:
		return nil, errMessageSize
	case n == 0:
		return nil, nil
	}
	return append([]byte(nil), c.body[:n]...), nil
}

// decode notes how a body is encrypted, which only the app can undo. Of an empty
// one nothing needs to be known.
func (m *message) decode(w http.ResponseWriter, h http.Header) error {
	if len(m.body.Data) == 0 {
		return nil
	}
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ","))); coding {
	case codingAES128GCM:
		m.body.Encoding = coding
	case codingAESGCM:
		encryption, key := strings.Join(h["Encryption"], ","), strings.Join(h["Crypto-Key"], ",")
		if param(h["Encryption"], "salt") == "" || param(h["Crypto-Key"], "dh") == "" || max(len(encryption), len(key)) > edition.MaxBodyHead {
			return errAESGCM
		}
		m.body.Encoding, m.body.Encryption, m.body.CryptoKey = coding, encryption, key
	case "", "identity":
		return errUnencrypted
	default:
		w.Header()["Accept-Encoding"] = codings // RFC 9110 §15.5.16
		return errMsgCoding
	}
	return nil
}

// send delivers a message, or drops it when it is worth nothing later and the
// device is not there.
func (p *Publisher) send(r *http.Request, ep Endpoint, m *message, c *call) (made parcel, err error) {
	made.Key, made.ends = edition.Key{UAID: ep.UAID, AppID: m.slot}, time.Now().Add(m.body.TTL+time.Second)
	if m.ttl == 0 {
		here, err := p.reachable(ep.Key)
		if err != nil {
			return made, err
		}
		if !here {
			return made, p.drop(r, ep, m, made)
		}
	}
	update := edition.Update{{Key: made.Key}}
	how := edition.Delivery{Bodies: []*edition.Body{&m.body}, Make: true}
	results, err := p.keep(r.Context(), update, how)
	if err != nil {
		return made, err
	}
	if err := failure(results[0]); err != nil {
		return made, p.whyGone(ep, err)
	}
	made.Version = results[0].Version
	p.count(doorPost, reasonOfResult(results[0]), ep.UAID)
	return made, nil
}

// reachable reports whether a device, or the relay that it is behind, is
// connected. ErrGone: its app is not registered.
func (p *Publisher) reachable(app edition.Key) (bool, error) {
	if _, err := p.store.State(app); err != nil {
		return false, err
	}
	agent, err := p.store.Agent(app.UAID)
	if err != nil {
		return false, err
	}
	return p.connected != nil && p.connected(edition.Holder{Owner: agent.Owner, UAID: app.UAID}.Party()), nil
}

// drop forgets the message of the topic that a dropped one would have replaced.
func (p *Publisher) drop(r *http.Request, ep Endpoint, m *message, made parcel) error {
	if m.topic {
		if _, err := p.withdraw(r.Context(), edition.Event{Key: made.Key, Version: edition.MaxVersion}); err != nil {
			return err
		}
	}
	p.count(doorPost, reasonDropped, ep.UAID)
	return nil
}

// whyGone keeps an app server from giving up an endpoint of which only one
// message is gone.
func (p *Publisher) whyGone(ep Endpoint, err error) error {
	if wire.Status(err) == http.StatusGone {
		if _, gone := p.store.State(ep.Key); gone == nil {
			return errEvicted
		}
	}
	return err
}
