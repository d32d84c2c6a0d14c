package session

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// eventStream is the far end of a GET /v1/events. A goroutine reads it.
type eventStream struct {
	t    testing.TB
	resp *http.Response
	in   chan serverEvent // closed at the end
	stop context.CancelFunc

	patient time.Duration
}

// serverEvent is one event as it stands, or a comment.
type serverEvent struct{ kind, id, data, retry, comment string }

// ask makes the request of a stream.
func (d *door) ask(query string, header http.Header, devices ...device) (*http.Response, context.CancelFunc) {
	d.t.Helper()
	ctx, stop := context.WithCancel(d.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+wire.PathEvents+query, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	var claims []wire.Agent
	for _, v := range devices {
		claims = append(claims, v.claim())
	}
	req.Header.Set("Authorization", string(wire.AppendClaims(nil, claims)))
	maps.Copy(req.Header, header)
	resp, err := d.http.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp, stop
}

// stream opens a stream and hears its hello.
func (d *door) stream(query string, header http.Header, devices ...device) *eventStream {
	d.t.Helper()
	resp, stop := d.ask(query, header, devices...)
	s := &eventStream{t: d.t, resp: resp, in: make(chan serverEvent, 1000), stop: stop, patient: patient}
	d.t.Cleanup(s.close)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		d.t.Fatalf("stream: %s %v", resp.Status, resp.Header)
	}
	go s.read()
	if e := s.hear(wire.TypeHello); e.retry == "" || e.id != "" {
		d.t.Fatalf("hello: %+v", e)
	}
	return s
}

func (s *eventStream) close() {
	s.stop()
	s.resp.Body.Close()
}

func (s *eventStream) read() {
	defer close(s.in)
	lines := bufio.NewScanner(s.resp.Body)
	lines.Buffer(nil, 1<<20)
	var e serverEvent
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.kind = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case "retry":
			e.retry = value
		case ":":
			e.comment = ":"
		case "":
			s.in <- e
			e = serverEvent{}
		default:
			e.comment = "unknown field " + field
		}
	}
}

// hear returns the next event, which must be of a kind; comments are passed over.
func (s *eventStream) hear(kind string) serverEvent {
	s.t.Helper()
	for {
		select {
		case e, ok := <-s.in:
			if ok && e.comment == ":" {
				continue
			}
			if !ok || e.kind != kind {
				s.t.Fatalf("heard %+v (%v), want %s", e, ok, kind)
			}
			return e
		case <-time.After(s.patient):
			s.t.Fatalf("heard nothing, want %s", kind)
		}
	}
}

// update hears an UPDATE with the id n.
func (s *eventStream) update(n int, want ...edition.Event) wire.Message {
	s.t.Helper()
	e := s.hear(wire.TypeUpdate)
	var m wire.Message
	if err := wire.Decode([]byte(e.data), &m); err != nil {
		s.t.Fatal(err)
	}
	if !slices.Equal(edition.Update(m.Updates), sorted(want...)) || e.id != strconv.Itoa(n) || m.ID != uint64(n) {
		s.t.Fatalf("update %s (%d) %v, want %d %v", e.id, m.ID, m.Updates, n, want)
	}
	return m
}

func (s *eventStream) ended() {
	s.t.Helper()
	select {
	case e, ok := <-s.in:
		if ok {
			s.t.Fatalf("heard %+v, want the end", e)
		}
	case <-time.After(patient):
		s.t.Fatal("the stream did not end")
	}
}

func (d *door) ackREST(v device, u ...edition.Event) {
	d.t.Helper()
	status, body := d.post(wire.PathAck, wire.AckRequest{Agents: []wire.Agent{v.claim()}, Updates: wire.Updates(u)})
	if status != http.StatusNoContent {
		d.t.Fatalf("ack: %d %s", status, body)
	}
}

// openHTTP2 is a door with TLS, at which HTTP/2 is spoken.
func openHTTP2(t *testing.T) *door {
	d := open(t, nil)
	l := httptest.NewUnstartedServer(d.Server)
	l.EnableHTTP2 = true
	l.StartTLS()
	t.Cleanup(l.Close)
	d.url, d.http = l.URL, l.Client()
	t.Cleanup(d.http.CloseIdleConnections)
	return d
}

func TestStream(t *testing.T) {
	for version, open := range map[string]func(t *testing.T) *door{
		"HTTP/1.1": func(t *testing.T) *door { return open(t, nil) },
		"HTTP/2.0": openHTTP2,
	} {
		t.Run(version, func(t *testing.T) {
			d := open(t)
			v, w := d.registered(edition.Direct), d.registered(edition.Direct)
			d.deliver(v.Key, 1)
			s := d.stream("", nil, v, w)
			if s.resp.Proto != version {
				t.Errorf("spoke %s", s.resp.Proto)
			}
			s.update(1, event(v, 1))
			d.deliver(v.Key, 2) // in flight: not sent
			d.deliver(w.Key, 5)
			s.update(2, event(w, 5))
			d.ackREST(v, event(v, 1))
			s.update(3, event(v, 2))
			d.ackREST(v, event(v, 2))
			d.wantState(v.Key, edition.StateDelivered)
			s.close()

			// What was not acknowledged comes again; the ids go on.
			s = d.stream("", http.Header{"Last-Event-Id": {"3"}}, w)
			s.update(4, event(w, 5))
			// A poll acknowledges as well.
			d.deliver(w.Key, 6)
			d.post(wire.PathUpdate, wire.UpdateRequest{Agents: []wire.Agent{w.claim()}, Ack: wire.Updates{event(w, 5)}})
			s.update(5, event(w, 6))
			d.ackREST(w, event(w, 6))
			d.wantState(w.Key, edition.StateDelivered)
			d.stream("", http.Header{"Last-Event-Id": {"x99"}}, w)
		})
	}
}

func TestStreamMessages(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	b := edition.Body{AppID: v.AppID, Urgency: edition.UrgencyNormal, Encoding: "aes128gcm", Data: []byte("data")}
	low := d.message(v, "", edition.Body{Urgency: edition.UrgencyLow})
	e := d.message(v, "", b)
	s := d.stream("?bodies=true&urgency=normal", nil, v)
	m := s.update(1, e)
	wantCarried(t, m.Messages, e, b)
	s.close()

	s = d.stream("", nil, v) // as versions, and whatever the urgency
	s.update(1, event(v, max(low.Version, e.Version)))
	d.ackREST(v, event(v, max(low.Version, e.Version)))
	d.gone(low, e)
	next := d.message(v, "", b)
	s.update(2, event(v, next.Version))
	d.ackREST(v, event(v, next.Version))

	// Much waits: what fits comes at once, the rest as it is acknowledged.
	s.close()
	b.Data = make([]byte, edition.MaxBody)
	want := map[edition.Key]bool{}
	for range 50 {
		want[d.message(v, "", b).Key] = true
	}
	s = d.stream("?bodies=1", nil, v)
	for n := 1; len(want) > 0; n++ {
		e := s.hear(wire.TypeUpdate)
		var m wire.Message
		if err := wire.Decode([]byte(e.data), &m); err != nil || len(e.data) > wire.MaxMessage || e.id != strconv.Itoa(n) {
			t.Fatalf("%s: %d bytes (%v)", e.id, len(e.data), err)
		}
		for _, e := range m.Updates {
			delete(want, e.Key)
		}
		d.ackREST(v, m.Updates...)
	}
}

func TestStreamRefusals(t *testing.T) {
	d := open(t, nil)
	v, stranger := d.registered(edition.Direct), newDevice()
	many := make([]device, wire.MaxClaims+1)
	for i := range many {
		many[i] = v
	}
	for _, tt := range []struct {
		name    string
		query   string
		header  http.Header
		devices []device
		status  int
	}{
		{"nobody", "", http.Header{"Authorization": nil}, nil, 401},
		{"an empty list", "", nil, []device{}, 400},
		{"a stranger", "", nil, []device{stranger}, 401},
		{"another secret", "", nil, []device{{Key: v.Key, secret: edition.NewSecret()}}, 401},
		{"too many", "", nil, many, 413},
		{"a relay", "", http.Header{"Authorization": {"Bearer " + relayToken}}, nil, 403},
		{"an unknown token", "", http.Header{"Authorization": {"Bearer x"}}, nil, 401},
		{"no base64", "", http.Header{"Authorization": {"Edition {}"}}, nil, 400},
		{"no JSON", "", http.Header{"Authorization": {"Edition AAAA"}}, nil, 400},
		{"an agent without a uaid", "", http.Header{"Authorization": {"Edition W3t9XQ"}}, nil, 400},
		{"no stream wanted", "", http.Header{"Accept": {"application/json"}}, []device{v}, 415},
		{"an unknown urgency", "?urgency=soon", nil, []device{v}, 400},
		{"bodies neither way", "?bodies=maybe", nil, []device{v}, 400},
		{"a malformed query", "?%zz", nil, []device{v}, 400},
	} {
		resp, stop := d.ask(tt.query, tt.header, tt.devices...)
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		stop()
		if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != "application/problem+json" ||
			resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %s %s", tt.name, resp.Status, b)
		}
	}
	if status, _ := d.request(wire.PathEvents, ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
	s := d.stream("", nil, v, stranger) // who is proven is served
	s.close()
	d.stream("", http.Header{"Accept": {"*/*"}, "Authorization": {string(wire.AppendClaims(nil, []wire.Agent{v.claim()})) + "="}})
}

// A page of another origin asks before what is not simple.
func TestPreflight(t *testing.T) {
	d := open(t, nil)
	for path, method := range map[string]string{wire.PathEvents: "GET", wire.PathAck: "POST", wire.PathRegister: "POST"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://page.example")
		req.Header.Set("Access-Control-Request-Method", method)
		resp, err := d.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != 204 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != method ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s: %s %v", path, resp.Status, h)
		}
	}
}

// The newest connection wins: a stream that has lost its last device says so.
func TestStreamReplaced(t *testing.T) {
	d := open(t, nil)
	v, w := d.registered(edition.Direct), d.registered(edition.Direct)
	s := d.stream("", nil, v, w)
	c := d.connect()
	c.hello(v)
	d.deliver(v.Key, 1)
	c.update(v.Key, 1)
	d.deliver(w.Key, 1)
	s.update(1, event(w, 1))
	again := d.stream("", nil, w)
	again.update(1, event(w, 1))
	if e := s.hear(wire.TypeError); !strings.Contains(e.data, `"status":409`) {
		t.Errorf("%+v", e)
	}
	s.ended()
	again.close()
	eventuallyFree(t, d, w)
	if status, u := d.poll(wire.UpdateRequest{Agents: []wire.Agent{w.claim()}, Wait: "30s"}); status != 200 || u.Updates[0] != event(w, 1) {
		t.Errorf("poll: %d %v", status, u)
	}
}

func eventuallyFree(t *testing.T, d *door, v device) {
	t.Helper()
	d.eventually("nobody is attached", func() bool { return !d.hub.Connected(edition.Holder{UAID: v.UAID}) })
}

func TestStreamDrains(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	s := d.stream("", nil, v)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	d.Drain(ctx)
	e := s.hear(wire.TypeError)
	if ms, err := strconv.Atoi(e.retry); err != nil || ms < 1000 || ms > 5000 || !strings.Contains(e.data, `"status":503`) {
		t.Errorf("%+v", e)
	}
	s.ended()
	resp, stop := d.ask("", nil, v)
	resp.Body.Close()
	stop()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("while draining: %s %v", resp.Status, resp.Header)
	}
}

// An idle stream shows that it lives; what is not acknowledged comes again,
// ever more seldom.
func TestStreamTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		s := d.stream("", nil, v)
		s.patient = time.Hour
		start := time.Now()
		for range 3 {
			if e := <-s.in; e != (serverEvent{comment: ":"}) {
				t.Errorf("%+v", e)
			}
		}
		if took := time.Since(start); took < 45*time.Second || took > time.Minute {
			t.Errorf("three comments in %v", took)
		}
		d.deliver(v.Key, 1)
		s.update(1, event(v, 1))
		for n, after := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
			sent := time.Now()
			s.update(n+2, event(v, 1))
			if took := time.Since(sent); took < after-5*time.Second || took > after+20*time.Second {
				t.Errorf("sent again after %v, want %v", took, after)
			}
		}
		d.ackREST(v, event(v, 1))
		time.Sleep(time.Hour)
		for len(s.in) > 0 {
			if e := <-s.in; e.comment != ":" {
				t.Errorf("after the ack: %+v", e)
			}
		}
		s.close()
		d.http.CloseIdleConnections()
		synctest.Wait()
		if d.hub.Connected(edition.Holder{UAID: v.UAID}) {
			t.Error("still attached")
		}
		d.close()
	})
}

// A client that does not read is cut off.
func TestStreamSlowReader(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := openOn(t, narrow{l}, new(net.Dialer).DialContext, func(o *Options) { o.Limits.Write = 200 * time.Millisecond })
	ended := make(chan struct{})
	d.serve.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		d.ServeHTTP(w, r)
	})
	claims := d.muchWaits()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_, err = io.WriteString(c, "GET /v1/events?bodies=true HTTP/1.1\r\nHost: x\r\nAuthorization: "+
		string(wire.AppendClaims(nil, claims))+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patient):
		t.Fatal("a client that does not read was not cut off")
	}
	if d.hub.Connected(edition.Holder{UAID: claims[0].UAID}) {
		t.Error("still attached")
	}
}
