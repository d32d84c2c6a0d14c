package session

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// poll does POST /v1/update.
func (d *door) poll(m wire.UpdateRequest, token ...string) (int, wire.UpdateResponse) {
	d.t.Helper()
	status, body := d.post(wire.PathUpdate, m, token...)
	var u wire.UpdateResponse
	if status == 200 {
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			d.t.Fatal(err)
		}
	}
	return status, u
}

func (d *door) wantPoll(m wire.UpdateRequest, want ...edition.Event) {
	d.t.Helper()
	status, u := d.poll(m)
	if len(want) == 0 && status == 204 {
		return
	}
	if status != 200 || len(u.Updates) != len(want) {
		d.t.Fatalf("poll: %d %v, want %v", status, u, want)
	}
	for i, e := range want {
		if u.Updates[i] != e {
			d.t.Errorf("poll: %v, want %v", u.Updates, want)
		}
	}
}

func TestRESTRoundTrip(t *testing.T) {
	d := open(t, nil)
	v := newDevice()
	reg := wire.RegisterRequest{UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret}
	var got wire.RegisterResponse
	status, body := d.post(wire.PathRegister, reg)
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 201 || got.UAID != v.UAID || got.AppID != v.AppID || got.Endpoint == "" {
		t.Fatal(status, body)
	}
	me := []wire.Agent{v.claim()}
	d.wantPoll(wire.UpdateRequest{Agents: me})
	d.deliver(v.Key, 1)
	d.wantPoll(wire.UpdateRequest{Agents: me}, event(v, 1))
	d.deliver(v.Key, 2)
	d.wantPoll(wire.UpdateRequest{Agents: me}, event(v, 2)) // again, until it is acknowledged
	if status, body := d.post(wire.PathAck, wire.AckRequest{Agents: me, Updates: wire.Updates{event(v, 1)}}); status != 204 {
		t.Error(status, body)
	}
	d.wantPoll(wire.UpdateRequest{Agents: me}, event(v, 2))
	d.wantPoll(wire.UpdateRequest{Agents: me, Ack: wire.Updates{event(v, 2)}})
	d.wantState(v.Key, edition.StateDelivered)

	reg.AppID, reg.Kick = nil, json.RawMessage(`{"driver":"udp"}`)
	if status, body := d.post(wire.PathKick, reg); status != 204 {
		t.Error(status, body)
	}
	if d.routes(edition.Holder{UAID: v.UAID}) != "udp" {
		t.Error("no route")
	}
	reg.AppID, reg.Kick = &v.AppID, nil
	if status, body := d.post(wire.PathUnregister, reg); status != 204 {
		t.Error(status, body)
	}
	if _, err := d.store.State(v.Key); err == nil {
		t.Error("still registered")
	}
}

func TestRESTAcksNameVersions(t *testing.T) {
	d := open(t, nil)
	v, foreign := d.registered(edition.Direct), d.registered(edition.Direct)
	d.deliver(v.Key, 1)
	d.deliver(foreign.Key, 1)
	me := []wire.Agent{v.claim()}
	d.wantPoll(wire.UpdateRequest{Agents: me}, event(v, 1))
	d.wantPoll(wire.UpdateRequest{Agents: []wire.Agent{foreign.claim()}}, event(foreign, 1))
	for _, tt := range []struct {
		name   string
		ack    wire.AckRequest
		status int
	}{
		{"bare", wire.AckRequest{Agents: me, UAIDs: []edition.UAID{v.UAID}}, 409},
		{"of nothing", wire.AckRequest{Agents: me}, 400},
		{"above", wire.AckRequest{Agents: me, Updates: wire.Updates{event(v, 2)}}, 204},
		{"foreign", wire.AckRequest{Agents: me, Updates: wire.Updates{event(foreign, 1)}}, 204},
		{"nobody's", wire.AckRequest{Updates: wire.Updates{event(v, 1)}}, 204},
		{"stored", wire.AckRequest{Agents: me, Updates: wire.Updates{event(v, 1)}, State: wire.AckStored}, 403},
		{"refuse", wire.AckRequest{Agents: me, Refuse: wire.Updates{event(v, 1)}}, 403},
		{"of a relay", wire.AckRequest{Relay: "r1", Updates: wire.Updates{event(v, 1)}}, 403},
		{"unknown state", wire.AckRequest{Agents: me, Updates: wire.Updates{event(v, 1)}, State: "eaten"}, 400},
		{"unknown agent", wire.AckRequest{Agents: []wire.Agent{newDevice().claim()}, Updates: wire.Updates{event(v, 1)}}, 401},
	} {
		if status, body := d.post(wire.PathAck, tt.ack); status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, status, body, tt.status)
		}
		if d.state(v.Key) != edition.StatePending || d.state(foreign.Key) != edition.StatePending {
			t.Fatalf("%s: cleared something", tt.name)
		}
	}
}

func TestRESTBadRequests(t *testing.T) {
	d := open(t, nil)
	v := d.registered(edition.Direct)
	agents := `{"agents":[{"uaid":"` + v.UAID.String() + `","secret":"` + v.secret + `"}]`
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{wire.PathUpdate, `{`, 400},
		{wire.PathUpdate, ``, 400},
		{wire.PathUpdate, agents + `} {}`, 400},
		{wire.PathUpdate, agents + `,"wait":"soon"}`, 400},
		{wire.PathUpdate, agents + `,"wait":"-1s"}`, 400},
		{wire.PathUpdate, agents + `,"wait":30}`, 400},
		{wire.PathUpdate, `{}`, 400},
		{wire.PathUpdate, agents + `,"relay":"r1"}`, 403},
		{wire.PathUpdate, `{"agents":[{"uaid":"x"}]}`, 400},
		{wire.PathUpdate, agents + `,"ack":{"x":1}}`, 400},
		{wire.PathAck, agents + `,"updates":[]}`, 400},
		{wire.PathUpdate, strings.Repeat(" ", wire.MaxMessage+1), 413},
		{"/v1/nothing", `{}`, 404},
		{"/v1/ws", `{}`, 405},
	} {
		if status, body := d.request(tt.path, tt.body); status != tt.status || !strings.Contains(body, `"status":`) {
			t.Errorf("%s %.60s: %d %s, want %d", tt.path, tt.body, status, body, tt.status)
		}
	}
	if status := d.announce(wire.PathRegister, 10<<20, wire.MaxMessage+1); status != 413 {
		t.Error("10 MiB:", status)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json5", "a/b/c"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+wire.PathUpdate, strings.NewReader(agents+"}"))
		req.Header.Set("Content-Type", kind)
		resp, err := d.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 415 {
			t.Errorf("content type %q: %d", kind, resp.StatusCode)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		req, _ := http.NewRequestWithContext(t.Context(), method, d.url+wire.PathAck, nil)
		resp, err := d.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	if status, _ := d.request(wire.PathUpdate, `{}`, "wrong"); status != 401 {
		t.Error("wrong token:", status)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+wire.PathUpdate, strings.NewReader(agents+"}"))
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := d.http.Do(req)
	if err != nil || resp.StatusCode != 204 {
		t.Error("with a charset:", resp.StatusCode, err)
	}
	resp.Body.Close()
}

// announce begins a request with a body of a size, of which it sends a part, and
// returns the status of the answer. Who sends it all may find the connection
// closed before the answer is read.
func (d *door) announce(path string, size, part int) int {
	d.t.Helper()
	c, err := d.dial(d.t.Context(), "tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, size)
	if _, err := c.Write(bytes.Repeat([]byte(" "), part)); err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestRegisterRate(t *testing.T) { synctest.Test(t, testRegisterRate) }

func testRegisterRate(t *testing.T) {
	d := openInMemory(t, func(o *Options) { o.Limits.RegisterRate, o.Limits.RegisterBurst = 0.1, 3 })
	v := newDevice()
	reg := wire.RegisterRequest{UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret}
	for i, want := range []int{201, 201, 201, 429, 429} {
		if status, body := d.post(wire.PathRegister, reg); status != want {
			t.Errorf("%d: %d %s, want %d", i, status, body, want)
		}
	}
	c := d.connect()
	c.say(wire.Message{Type: wire.TypeRegister, UAID: &v.UAID, AppID: &v.AppID, Secret: v.secret})
	if m := c.hear(wire.TypeError); m.Status != 429 || m.RetryAfter != 10 {
		t.Errorf("%+v", m)
	}
	for range 5 {
		if status, body := d.post(wire.PathRegister, reg, relayToken); status != 201 {
			t.Errorf("a relay: %d %s", status, body)
		}
	}
	c.ws.Close()
	d.close()
}

func TestRelayOverREST(t *testing.T) {
	d := open(t, nil)
	n := d.relay("r1")
	const many = 1500
	left := map[edition.Key]bool{}
	for range many {
		v := d.registered(n)
		d.deliver(v.Key, 1)
		left[v.Key] = true
	}
	hello := wire.UpdateRequest{Relay: "r1", Store: "store-of-r1"}
	for len(left) > 0 {
		status, u := d.poll(hello, relayToken)
		if status != 200 || len(u.Updates) > wire.MaxUpdate {
			t.Fatal(status, len(u.Updates))
		}
		for _, e := range u.Updates {
			delete(left, e.Key)
		}
		if status, body := d.post(wire.PathAck, wire.AckRequest{Relay: "r1", State: wire.AckStored, Updates: u.Updates}, relayToken); status != 204 {
			t.Fatal(status, body)
		}
	}
	if status, u := d.poll(hello, relayToken); status != 204 {
		t.Error("after stored:", status, u)
	}
	// Who shows up there, and who is refused.
	v := d.registered(edition.Direct)
	d.deliver(v.Key, 1)
	hello.Agents = []wire.Agent{v.behind(), newDevice().behind()}
	if status, u := d.poll(hello, relayToken); status != 200 || len(u.Updates) != 1 || len(u.Refused) != 1 {
		t.Error("with agents:", status, u)
	}
	hello.Agents = nil
	if status, body := d.post(wire.PathAck, wire.AckRequest{Relay: "r1", Refuse: wire.Updates{event(v, 1)}}, relayToken); status != 204 {
		t.Error(status, body)
	}
	if status, u := d.poll(hello, relayToken); status != 204 {
		t.Error("after refuse:", status, u)
	}
	d.wantState(v.Key, edition.StatePending)
	if status, _ := d.post(wire.PathAck, wire.AckRequest{Relay: "r1", Updates: wire.Updates{event(v, 1)}}, relayToken); status != 204 {
		t.Error("delivered")
	}
	d.wantState(v.Key, edition.StateDelivered)

	hello.Custody = wire.CustodyRelay
	d.deliver(v.Key, 2)
	if status, _ := d.poll(hello, relayToken); status != 200 {
		t.Error("custody: relay")
	}
	d.post(wire.PathAck, wire.AckRequest{Relay: "r1", State: wire.AckStored, Updates: wire.Updates{event(v, 2)}}, relayToken)
	if s, _ := d.store.State(v.Key); s.State == edition.StatePending {
		t.Error("custody: relay was not remembered")
	}

	if status, body := d.post(wire.PathUpdate, wire.UpdateRequest{Relay: "r2"}, relayToken); status != 403 {
		t.Error("another's name:", status, body)
	}
	if status, body := d.post(wire.PathKick, wire.RegisterRequest{Relay: "r1", Kick: json.RawMessage(`{"driver":"udp"}`)}, relayToken); status != 204 {
		t.Error("kick:", status, body)
	}
	if d.routes(edition.Holder{Owner: n}) != "udp" {
		t.Error("no route")
	}
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		me := wire.UpdateRequest{Agents: []wire.Agent{v.claim()}, Wait: "30s"}
		start := time.Now()
		d.wantPoll(me)
		if took := time.Since(start); took != 30*time.Second {
			t.Error("an empty poll took", took)
		}
		long := me
		long.Wait = "24h"
		start = time.Now()
		d.wantPoll(long)
		if took := time.Since(start); took != wire.MaxWait {
			t.Error("a poll for a day took", took)
		}
		start = time.Now()
		time.AfterFunc(10*time.Second, func() { d.hub.Deliver(edition.Update{event(v, 1)}, edition.Delivery{}) })
		d.wantPoll(me, event(v, 1))
		if took := time.Since(start); took != 10*time.Second {
			t.Error("an event after 10 s came after", took)
		}
		if d.hub.Connected(edition.Holder{UAID: v.UAID}) {
			t.Error("still attached")
		}
		// With a refused one beside, the wait is kept and the answer says so.
		stranger := newDevice()
		me.Agents = append(me.Agents, stranger.claim())
		me.Ack = wire.Updates{event(v, 1)}
		start = time.Now()
		status, u := d.poll(me)
		if status != 200 || len(u.Updates) != 0 || len(u.Refused) != 1 || time.Since(start) != 30*time.Second {
			t.Error(status, u, time.Since(start))
		}
		d.close()
	})
}

func TestLongPollIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		v := d.registered(edition.Direct)
		me := wire.UpdateRequest{Agents: []wire.Agent{v.claim()}, Wait: "30s"}
		first := make(chan int)
		go func() {
			status, _ := d.poll(me)
			first <- status
		}()
		synctest.Wait()
		c := d.connect()
		c.hello(v)
		if status := <-first; status != 409 {
			t.Error("the replaced poll:", status)
		}
		d.deliver(v.Key, 1)
		c.update(v.Key, 1)
		// A poll replaces a connection, too; what that had in flight is handed out.
		d.wantPoll(me, event(v, 1))
		c.wantClosed(wire.CloseReplaced, "")
		d.close()
	})
}

func TestRelayLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openInMemory(t, nil)
		n := d.relay("r1")
		v, w := d.registered(n), d.registered(n)
		d.deliver(v.Key, 1)
		hello := wire.UpdateRequest{Relay: "r1", Store: "store-of-r1", Wait: "1m"}
		if status, u := d.poll(hello, relayToken); status != 200 || len(u.Updates) != 1 {
			t.Fatal(status, u)
		}
		d.post(wire.PathAck, wire.AckRequest{Relay: "r1", State: wire.AckStored, Updates: wire.Updates{event(v, 1)}}, relayToken)
		start := time.Now()
		time.AfterFunc(20*time.Second, func() {
			d.hub.Deliver(edition.Update{event(w, 5)}, edition.Delivery{})
		})
		status, u := d.poll(hello, relayToken)
		if status != 200 || len(u.Updates) != 1 || u.Updates[0] != event(w, 5) || time.Since(start) != 20*time.Second {
			t.Error(status, u, time.Since(start))
		}
		d.close()
	})
}
