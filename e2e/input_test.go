package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestBadPUT sends app servers' mistakes: each has its documented answer and
// no effect.
func TestBadPUT(t *testing.T) {
	t.Parallel()
	server, other := newServer(t).start(), newServer(t).start()
	d := newDevice().register(t, server)
	const form, js, text = "application/x-www-form-urlencoded", "application/json", "text/plain"
	foreign := server.url + strings.TrimPrefix(newDevice().register(t, other).endpoint, other.url)
	token := d.endpoint[strings.LastIndexByte(d.endpoint, '/')+1:]
	forged := []byte(d.endpoint)
	forged[len(forged)-5] ^= 1
	cases := []struct {
		name, method, url, contentType, body string
		want                                 int
	}{
		{"negative", "PUT", d.endpoint, form, "version=-1", 400},
		{"plus", "PUT", d.endpoint, text, "+5", 400},
		{"form plus", "PUT", d.endpoint, form, "version=%2B5", 400},
		{"leading zero", "PUT", d.endpoint, form, "version=05", 400},
		{"2^63", "PUT", d.endpoint, form, "version=9223372036854775808", 400},
		{"exponent", "PUT", d.endpoint, js, `{"version":1e3}`, 400},
		{"fraction", "PUT", d.endpoint, js, `{"version":5.0}`, 400},
		{"string", "PUT", d.endpoint, js, `{"version":"5"}`, 400},
		{"null", "PUT", d.endpoint, js, `{"version":null}`, 400},
		{"missing", "PUT", d.endpoint, js, `{}`, 400},
		{"NaN", "PUT", d.endpoint, form, "version=NaN", 400},
		{"twice", "PUT", d.endpoint, form, "version=1&version=2", 400},
		{"twice in JSON", "PUT", d.endpoint, js, `{"version":1,"version":2}`, 400},
		{"no number", "PUT", d.endpoint, form, "version=", 400},
		{"space", "PUT", d.endpoint, text, " 5", 400},
		{"trailing bytes", "PUT", d.endpoint, js, `{"version":5}{`, 400},
		{"trailing value", "PUT", d.endpoint, js, `{"version":5} 6`, 400},
		{"10 MB", "PUT", d.endpoint, form, "version=1&x=" + strings.Repeat("a", 10<<20), 413},
		{"over 4 KiB", "PUT", d.endpoint, text, strings.Repeat("1", 4097), 413},
		{"another content type", "PUT", d.endpoint, "application/xml", "<v>5</v>", 415},
		{"forged", "PUT", string(forged), form, "version=5", 404},
		{"truncated", "PUT", d.endpoint[:len(d.endpoint)-7], form, "version=5", 404},
		{"foreign", "PUT", foreign, form, "version=5", 404},
		{"no token", "PUT", strings.TrimSuffix(d.endpoint, token), form, "version=5", 404},
		{"too long", "PUT", d.endpoint + strings.Repeat("A", 500), form, "version=5", 404},
		{"method", "DELETE", d.endpoint, "", "", 405},
	}
	for _, c := range cases {
		a, err := insist(c.method, c.url, c.contentType, c.body)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.want, a.body)
			continue
		}
		if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/problem+json") {
			t.Errorf("%s: Content-Type %q", c.name, ct)
		}
		o := a.json(t)
		for _, field := range []string{"type", "title", "status", "detail"} {
			if o[field] == nil {
				t.Errorf("%s: the problem has no %s: %s", c.name, field, a.body)
			}
		}
		if c.want == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", c.name)
		}
	}
	if v, s := d.state(t); s != "none" {
		t.Errorf("after bad input only: %d %s, want none", v, s)
	}
	post(t, server.url+"/v1/unregister", obj{"uaid": d.uaid, "secret": d.secret, "appid": d.appid})
	if s := put(d.endpoint, 5); s != http.StatusGone {
		t.Errorf("PUT to an unregistered app: %d, want 410", s)
	}
}

// insist is request for bodies that are refused before they have come: when the
// end of the connection is noticed before the answer, the answer is lost.
func insist(method, url, contentType, body string) (a answer, err error) {
	for range 10 {
		if a, err = request(method, url, contentType, []byte(body)); err == nil {
			break
		}
	}
	return a, err
}

// TestGoodPUT sends each body form.
func TestGoodPUT(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()
	d := newDevice().register(t, server)
	for i, c := range []struct{ contentType, body string }{
		{"application/x-www-form-urlencoded", "version=1"},
		{"", "version=2"},
		{"application/json", `{"version": 3}`},
		{"text/plain", "4"},
		{"application/json; charset=utf-8", `{"version":5}`},
	} {
		a, err := request("PUT", d.endpoint, c.contentType, []byte(c.body))
		if err != nil || a.status != http.StatusAccepted {
			t.Fatalf("%s: %v %d %s", c.body, err, a.status, a.body)
		}
		if o := a.json(t); o["status"] != "stored" || o["version"] != float64(i+1) {
			t.Errorf("%s: %s", c.body, a.body)
		}
	}
	a, err := request("PUT", d.endpoint, "", []byte("version=2"))
	if err != nil || a.status != 202 || a.json(t)["superseded"] != true || a.json(t)["version"] != float64(5) {
		t.Errorf("a superseded PUT: %v %d %s", err, a.status, a.body)
	}
	for _, ct := range []string{"", "text/plain", "application/json", "application/x-www-form-urlencoded"} {
		before := time.Now().UnixMilli()
		a, err := request("PUT", d.endpoint, ct, nil)
		if err != nil || a.status != 202 || a.json(t)["version"].(float64) < float64(before) {
			t.Errorf("an empty PUT (%q): %v %d %s", ct, err, a.status, a.body)
		}
	}
	a, err = request("OPTIONS", d.endpoint, "", nil)
	if err != nil || a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("OPTIONS: %v %d %v", err, a.status, a.header)
	}
	a, err = request("HEAD", d.endpoint, "", nil)
	if err != nil || a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %v %d %s", err, a.status, a.body)
	}
}

// TestBatch sends lines to /v1/events.
func TestBatch(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()
	d, e := newDevice().register(t, server), newDevice().register(t, server)
	var body bytes.Buffer
	fmt.Fprintf(&body, "{\"endpoint\":%q,\"version\":7}\n", d.endpoint)
	fmt.Fprintf(&body, "{\"endpoint\":%q,\"version\":-7}\n", d.endpoint)
	fmt.Fprintf(&body, "not json\n")
	fmt.Fprintf(&body, "{\"endpoint\":\"%sx\",\"version\":7}\n", d.endpoint)
	fmt.Fprintf(&body, "{\"endpoint\":%q,\"version\":8}\n", e.endpoint)
	a, err := request("POST", server.url+"/v1/events", "application/x-ndjson", body.Bytes())
	if err != nil || a.status != 200 {
		t.Fatalf("batch: %v %d %s", err, a.status, a.body)
	}
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	for i, want := range []string{`"status":202`, `"status":400`, `"status":400`, `"status":404`, `"status":202`} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d of %q, want %s", i, lines, want)
		}
	}
	if v, s := e.state(t); v != 8 || s != "pending" {
		t.Errorf("state %d %s", v, s)
	}
}

// TestBadMessages sends devices' mistakes over the WebSocket.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()
	d := newDevice().register(t, server)
	holder := d.hello(t, server)

	for name, text := range map[string]string{
		"not JSON":          `hello`,
		"an array":          `[]`,
		"no type":           `{"agents":[]}`,
		"an unknown type":   `{"type":"nonsense"}`,
		"a type of no text": `{"type":5}`,
		"no UUID":           `{"type":"hello","agents":[{"uaid":"me","secret":"x"}]}`,
		"register no UUID":  `{"type":"register","uaid":"1","secret":"x","appid":"2"}`,
		"bad version":       `{"type":"ack","updates":{"` + d.uaid + `":{"` + d.appid + `":-1}}}`,
	} {
		w := mustDial(t, server)
		w.conn.WriteMessage(websocket.TextMessage, []byte(text))
		if m, err := w.read(patience); err != nil || m.Type != "error" || m.Status != 400 {
			t.Errorf("%s: %v %+v, want error 400", name, err, m)
		}
	}

	for name, c := range map[string]struct {
		kind int
		data []byte
		code int
	}{
		"binary":         {websocket.BinaryMessage, []byte(`{"type":"ping"}`), websocket.CloseUnsupportedData},
		"invalid UTF-8":  {websocket.TextMessage, []byte("{\"type\":\"ping\",\"x\":\"\xff\"}"), websocket.CloseInvalidFramePayloadData},
		"over the limit": {websocket.TextMessage, bytes.Repeat([]byte(" "), 65<<10), websocket.CloseMessageTooBig},
	} {
		w := mustDial(t, server)
		w.conn.WriteMessage(c.kind, c.data)
		for {
			m, err := w.read(patience)
			if err == nil && m.Type == "error" {
				continue
			}
			if ce := (*websocket.CloseError)(nil); !errors.As(err, &ce) || ce.Code != c.code {
				t.Errorf("%s: %v %+v, want close %d", name, err, m, c.code)
			}
			break
		}
	}

	wrong := newDevice()
	wrong.uaid = d.uaid
	w := mustDial(t, server)
	w.send(obj{"type": "hello", "agents": []obj{wrong.agent()}})
	if m := w.expect(t, "hello"); len(m.UAIDs) != 0 || len(m.Refused) != 1 || m.Refused[0] != d.uaid {
		t.Errorf("a wrong secret: %+v", m)
	}
	w.send(obj{"type": "register", "uaid": d.uaid, "secret": wrong.secret, "appid": uuid()})
	if m, err := w.read(patience); err != nil || m.Status != 401 {
		t.Errorf("register with a wrong secret: %v %+v", err, m)
	}
	if a := post(t, server.url+"/v1/update", obj{"agents": []obj{wrong.agent()}}); a.status != 401 {
		t.Errorf("poll with a wrong secret: %d %s", a.status, a.body)
	}
	go put(d.endpoint, 1)
	holder.expectUpdate(t, d, 1) // the rightful holder has noticed nothing

	w = mustDial(t, server)
	agents := make([]obj, 0, 100_000)
	for range cap(agents) {
		agents = append(agents, newDevice().agent())
	}
	w.send(obj{"type": "hello", "agents": agents})
	if _, err := w.read(patience); err == nil {
		if m, err := w.read(patience); err == nil {
			t.Errorf("100,000 UAIDs in one hello: %+v", m)
		}
	}

	w = mustDial(t, server)
	w.send(obj{"type": "hello", "agents": []obj{}})
	if m := w.expect(t, "hello"); m.UAIDs == nil || m.Refused == nil {
		t.Errorf("an empty hello: %+v", m)
	}
}

// TestBadREST sends devices' mistakes over REST.
func TestBadREST(t *testing.T) {
	t.Parallel()
	server := newServer(t).start()
	d := newDevice().register(t, server)
	accepted(t, put(d.endpoint, 1))
	d.poll(t, server, "0s", nil)
	for name, c := range map[string]struct {
		path, contentType, body string
		want                    int
	}{
		"a bare ack":           {"/v1/ack", "application/json", `{"agents":[{"uaid":"` + d.uaid + `","secret":"` + d.secret + `"}],"uaids":["` + d.uaid + `"]}`, 409},
		"no UUID":              {"/v1/register", "application/json", `{"uaid":"x","secret":"` + d.secret + `","appid":"` + d.appid + `"}`, 400},
		"no secret":            {"/v1/register", "application/json", `{"uaid":"` + uuid() + `","appid":"` + uuid() + `"}`, 401},
		"trailing bytes":       {"/v1/register", "application/json", `{"uaid":"` + d.uaid + `","secret":"` + d.secret + `","appid":"` + d.appid + `"}x`, 400},
		"another content type": {"/v1/register", "text/plain", `{}`, 415},
		"10 MB":                {"/v1/update", "application/json", `{"agents":[` + strings.Repeat(" ", 10<<20) + `]}`, 413},
		"a bad wait":           {"/v1/update", "application/json", `{"agents":[{"uaid":"` + d.uaid + `","secret":"` + d.secret + `"}],"wait":"soon"}`, 400},
		"a kick to anywhere":   {"/v1/kick", "application/json", `{"uaid":"` + d.uaid + `","secret":"` + d.secret + `","kick":{"driver":"udp","ip":"192.0.2.1","port":5000}}`, 403},
		"an unknown path":      {"/v1/nothing", "application/json", `{}`, 404},
	} {
		a, err := insist("POST", server.url+c.path, c.contentType, c.body)
		if err != nil || a.status != c.want {
			t.Errorf("%s: %v %d, want %d: %s", name, err, a.status, c.want, a.body)
			continue
		}
		if !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s: Content-Type %q", name, a.header.Get("Content-Type"))
		}
	}
	if a, err := request("GET", server.url+"/v1/update", "", nil); err != nil || a.status != 405 || a.header.Get("Allow") == "" {
		t.Errorf("GET of a POST path: %v %d %v", err, a.status, a.header)
	}
	if v, s := d.state(t); v != 1 || s != "pending" {
		t.Errorf("after bad input only: %d %s, want 1 pending", v, s)
	}
}
