package relay

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds what hangs. Nothing else is to depend on it.
const patience = 2 * time.Minute

// upstream server of a test, scripted by its functions; a nil one accepts.
// Every message that comes up is kept as text.
type fake struct {
	t        *testing.T
	url      string
	register func(m wire.Message) (endpoint string, err error)
	refuse   func(edition.UAID) bool
	mute     atomic.Bool // pings are not answered
	way      []string    // Guarded by mu once it runs; told to who says hello

	mu    sync.Mutex
	conn  *websocket.Conn // Guarded by mu; the last connection, also while writing
	conns int             // Guarded by mu
	text  []string        // Guarded by mu
	seen  chan wire.Message
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, seen: make(chan wire.Message, 10_000)}
	var handlers sync.WaitGroup
	handlers.Add(1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		f.mu.Lock()
		f.conn, f.conns = conn, f.conns+1
		f.mu.Unlock()
		f.serve(conn)
	}))
	f.url = s.URL
	t.Cleanup(func() { f.cut(); s.CloseClientConnections(); s.Close(); handlers.Done(); handlers.Wait() })
	return f
}

func (f *fake) serve(conn *websocket.Conn) {
	for {
		_, b, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var m wire.Message
		if err := wire.Decode(b, &m); err != nil {
			f.t.Errorf("relay sent %q: %v", b, err)
		}
		f.mu.Lock()
		f.text = append(f.text, string(b))
		f.mu.Unlock()
		f.seen <- m
		f.answer(conn, m)
	}
}

// answer answers on the connection that was asked: there may be a newer one.
func (f *fake) answer(conn *websocket.Conn, m wire.Message) {
	a := wire.Message{Type: m.Type, Status: 200, UAID: m.UAID, AppID: m.AppID}
	switch m.Type {
	case wire.TypeHello:
		a.UAIDs, a.Refused, a.Custody = []edition.UAID{}, []edition.UAID{}, m.Custody
		f.mu.Lock()
		a.Way = f.way
		f.mu.Unlock()
		for _, w := range m.Agents {
			if f.refuse != nil && f.refuse(w.UAID) {
				a.Refused = append(a.Refused, w.UAID)
			} else {
				a.UAIDs = append(a.UAIDs, w.UAID)
			}
		}
	case wire.TypeRegister:
		a.Status, a.Endpoint = 201, "https://push.test/v1/e/"+m.AppID.String()
		if f.register != nil {
			var err error
			if a.Endpoint, err = f.register(m); err != nil {
				a = wire.ErrorMessage(err, m.Type)
				a.UAID, a.AppID = m.UAID, m.AppID
			}
		}
	case wire.TypePing:
		if f.mute.Load() {
			return
		}
		a = wire.Message{Type: wire.TypePong}
	case wire.TypeAck, wire.TypeRefuse, wire.TypeWoken:
		return
	}
	b, _ := json.Marshal(a)
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = conn.WriteMessage(websocket.TextMessage, b)
}

func (f *fake) write(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.conn.WriteMessage(websocket.TextMessage, b)
}

func (f *fake) update(u ...edition.Event) {
	f.write(wire.AppendUpdate(nil, 1, edition.Update(u).Normalize()))
}

// cut ends the connection without a word.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
	}
}

// said is everything that came up, as text.
func (f *fake) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.text, "\n")
}

// await returns the next message of one of some types.
func (f *fake) await(t *testing.T, types ...string) wire.Message {
	t.Helper()
	for {
		select {
		case m := <-f.seen:
			if slices.Contains(types, m.Type) {
				return m
			}
		case <-time.After(patience):
			t.Fatalf("waited in vain for %s", types)
		}
	}
}

// rig is a relay between fakes and a store.
type rig struct {
	*Relay
	store *mem.Store
	reg   *prometheus.Registry
	wake  func(context.Context, wire.WakeRequest) wire.WakeResult
}

// newRig starts a relay with an upstream for each fake, named up0, up1, …
func newRig(t *testing.T, deliver func(edition.Update, edition.Delivery) *edition.Receipt, ups ...*fake) *rig {
	t.Helper()
	g := &rig{store: mem.New(mem.Options{}), reg: prometheus.NewRegistry()}
	g.start(t, g.store, deliver, ups...)
	return g
}

func (g *rig) start(t *testing.T, store edition.Store, deliver func(edition.Update, edition.Delivery) *edition.Receipt, ups ...*fake) {
	t.Helper()
	if deliver == nil {
		deliver = store.Deliver
	}
	o := Options{Name: "north", Store: store, Deliver: deliver, Metrics: g.reg, Wake: g.wake}
	for i, f := range ups {
		o.Upstreams = append(o.Upstreams, Upstream{
			Name: "up" + string(rune('0'+i)), URL: f.url, Token: "tok", Mode: "websocket",
			RetryMax: time.Millisecond, Kick: json.RawMessage(`{"ip":"10.0.0.1"}`),
		})
	}
	var err error
	if g.Relay, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	eventually(t, "connected", func() bool {
		for _, s := range g.Upstreams() {
			if !s.Connected {
				return false
			}
		}
		return true
	})
}

// count reads a counter of upstream up0.
func (g *rig) count(t *testing.T, name, label, value string) float64 {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// eventually waits for a condition; the bound is for a hung test only.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// device is one that registers in a test.
type device struct {
	uaid   edition.UAID
	app    edition.AppID
	secret string
	proof  edition.Proof
}

func newDevice(t *testing.T) device {
	t.Helper()
	d := device{uaid: edition.NewUAID(), app: edition.NewAppID(), secret: edition.NewSecret()}
	var err error
	if d.proof, err = edition.ProofOf(d.secret); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d device) registration() edition.Registration {
	return edition.Registration{Key: edition.Key{UAID: d.uaid, AppID: d.app}, Proof: d.proof}
}

func (d device) event(v edition.Version) edition.Event {
	return edition.Event{Key: edition.Key{UAID: d.uaid, AppID: d.app}, Version: v}
}

func (d device) credential() edition.Credential {
	return edition.Credential{UAID: d.uaid, Proof: d.proof}
}
