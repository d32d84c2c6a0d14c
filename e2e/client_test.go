package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// updates is the wire form of what is sent and acknowledged.
type updates map[string]map[string]uint64

// obj is a JSON object.
type obj map[string]any

// device is a device with one app, as an independent client would write it.
type device struct {
	uaid, secret, appid string
	endpoint            string
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&15|0x40, b[8]&63|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func newDevice() *device {
	var s [32]byte
	rand.Read(s[:])
	return &device{uaid: uuid(), appid: uuid(), secret: base64.RawURLEncoding.EncodeToString(s[:])}
}

func (d *device) agent() obj { return obj{"uaid": d.uaid, "secret": d.secret} }

// answer is an HTTP response, read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t *testing.T) obj {
	t.Helper()
	var o obj
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("answer %d is not JSON: %v\n%s", a.status, err, a.body)
	}
	return o
}

var httpClient = &http.Client{
	Timeout:   2 * patience,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

func request(method, url, contentType string, body []byte) (answer, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	// All that tests ask for may be asked for twice: that is how net/http is told
	// to do so when the connection that it has kept turns out to be closed.
	req.Header["Idempotency-Key"] = nil
	resp, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

func post(t *testing.T, url string, body any) answer {
	t.Helper()
	a, err := tryPost(url, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryPost(url string, body any) (answer, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	return request("POST", url, "application/json", b)
}

// register registers the device's app by REST, trying again while the node
// says 503.
func (d *device) register(t *testing.T, at *node) *device {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		a, err := tryPost(at.url+"/v1/register", obj{"uaid": d.uaid, "secret": d.secret, "appid": d.appid})
		if err == nil && a.status == http.StatusCreated {
			o := a.json(t)
			if o["uaid"] != d.uaid || o["appid"] != d.appid {
				t.Fatalf("register answered for another device: %s", a.body)
			}
			d.endpoint = o["endpoint"].(string)
			return d
		}
		if err == nil && a.status != http.StatusServiceUnavailable || time.Since(start) > patience {
			t.Fatalf("register at %s: %v %d %s", at.name, err, a.status, a.body)
		}
	}
}

// put PUTs a version and returns the status, 0 when there was no answer.
func put(endpoint string, version uint64) int {
	a, err := request("PUT", endpoint, "application/x-www-form-urlencoded", fmt.Appendf(nil, "version=%d", version))
	if err != nil {
		return 0
	}
	return a.status
}

// state GETs an endpoint.
func (d *device) state(t *testing.T) (version uint64, state string) {
	t.Helper()
	a, err := request("GET", d.endpoint, "", nil)
	if err != nil || a.status != 200 {
		t.Fatalf("GET endpoint: %v %d %s", err, a.status, a.body)
	}
	var s struct {
		Version uint64
		State   string
		Since   time.Time
	}
	if err := json.Unmarshal(a.body, &s); err != nil {
		t.Fatalf("GET endpoint: %v in %s", err, a.body)
	}
	return s.Version, s.State
}

// awaitState polls until GET shows the version in the state.
func (d *device) awaitState(t *testing.T, version uint64, state string) {
	t.Helper()
	start := time.Now()
	for {
		v, s := d.state(t)
		if v == version && s == state {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("GET endpoint shows %d %s, want %d %s", v, s, version, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// poll asks for updates by REST; ack, if not nil, is applied first.
func (d *device) poll(t *testing.T, at *node, wait string, ack updates) updates {
	t.Helper()
	o := obj{"agents": []obj{d.agent()}, "wait": wait}
	if ack != nil {
		o["ack"] = ack
	}
	a := post(t, at.url+"/v1/update", o)
	switch a.status {
	case http.StatusNoContent:
		return nil
	case http.StatusOK:
		var r struct{ Updates updates }
		if err := json.Unmarshal(a.body, &r); err != nil {
			t.Fatal(err)
		}
		return r.Updates
	}
	t.Fatalf("poll at %s: %d %s", at.name, a.status, a.body)
	return nil
}

// ws is a device's or a relay's WebSocket.
type ws struct {
	conn *websocket.Conn
}

func dial(at *node, header http.Header) (*ws, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: []string{"edition.v1"}, HandshakeTimeout: patience}
	c, resp, err := d.Dial("ws"+strings.TrimPrefix(at.url, "http")+"/v1/ws", header)
	if err != nil {
		return nil, resp, err
	}
	return &ws{conn: c}, resp, nil
}

func mustDial(t *testing.T, at *node) *ws {
	t.Helper()
	w, _, err := dial(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	return w
}

func (w *ws) send(o any) error {
	w.conn.SetWriteDeadline(time.Now().Add(patience))
	return w.conn.WriteJSON(o)
}

// message is what a server says.
type message struct {
	Type     string
	Status   int
	UAIDs    []string `json:"uaids"`
	Refused  []string
	UAID     string `json:"uaid"`
	AppID    string `json:"appid"`
	Endpoint string
	ID       uint64
	Updates  updates
	Title    string
	Detail   string
	Of       string
	Custody  string
}

func (w *ws) read(wait time.Duration) (message, error) {
	var m message
	w.conn.SetReadDeadline(time.Now().Add(wait))
	err := w.conn.ReadJSON(&m)
	return m, err
}

// expect reads messages until one of the type comes.
func (w *ws) expect(t *testing.T, typ string) message {
	t.Helper()
	for {
		m, err := w.read(patience)
		if err != nil {
			t.Fatalf("waiting for %s: %v", typ, err)
		}
		if m.Type == typ {
			return m
		}
		if m.Type == "error" {
			t.Fatalf("waiting for %s: error %d %s: %s", typ, m.Status, m.Title, m.Detail)
		}
	}
}

// silent fails the test when an update comes within the time.
func (w *ws) silent(t *testing.T, d time.Duration) {
	t.Helper()
	m, err := w.read(d)
	if err == nil {
		t.Fatalf("unexpected message: %+v", m)
	}
}

// hello connects a device and says hello.
func (d *device) hello(t *testing.T, at *node) *ws {
	t.Helper()
	w := mustDial(t, at)
	if err := w.send(obj{"type": "hello", "agents": []obj{d.agent()}}); err != nil {
		t.Fatal(err)
	}
	if m := w.expect(t, "hello"); m.Status != 200 || len(m.UAIDs) != 1 || m.UAIDs[0] != d.uaid {
		t.Fatalf("hello at %s: %+v", at.name, m)
	}
	return w
}

// expectUpdate waits for the device's version and returns the UPDATE's id.
func (w *ws) expectUpdate(t *testing.T, d *device, version uint64) uint64 {
	t.Helper()
	m := w.expect(t, "update")
	if got := m.Updates[d.uaid][d.appid]; got != version || len(m.Updates) != 1 {
		t.Fatalf("update %+v, want version %d", m.Updates, version)
	}
	return m.ID
}

func (d *device) versions(v uint64) updates { return updates{d.uaid: {d.appid: v}} }

func (w *ws) ack(t *testing.T, d *device, version uint64) {
	t.Helper()
	if err := w.send(obj{"type": "ack", "updates": d.versions(version)}); err != nil {
		t.Fatal(err)
	}
}

// barrier returns when the server has handled everything sent before.
func (w *ws) barrier(t *testing.T) {
	t.Helper()
	if err := w.send(obj{"type": "ping"}); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "pong")
}
