package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// carried is what one event of an UPDATE carries.
type carried struct {
	UAID     string `json:"uaid"`
	Slot     string
	AppID    string `json:"appid"`
	TTL      int
	Urgency  string
	Encoding string
	Data     string
}

// told is an UPDATE with what its events carry.
type told struct {
	Type     string
	ID       uint64
	Updates  updates
	Messages []carried
}

// post sends a message of Web Push and returns the answer; headers are pairs.
func (d *device) post(t *testing.T, data []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.endpoint, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TTL", "600")
	req.Header.Set("Content-Encoding", "aes128gcm")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return answer{resp.StatusCode, resp.Header, nil}
}

// postForReceipt posts and returns where the receipt is.
func (d *device) postForReceipt(t *testing.T, data []byte, headers ...string) string {
	t.Helper()
	a := d.post(t, data, append(headers, "Prefer", "respond-async")...)
	receipt, _, ok := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	if a.status != http.StatusAccepted || !ok {
		t.Fatalf("POST: %d %v", a.status, a.header)
	}
	return receipt
}

func awaitReceipt(t *testing.T, receipt string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		a, err := request(http.MethodGet, receipt, "", nil)
		if err == nil && a.status == http.StatusNoContent {
			return
		}
		if err != nil || time.Since(start) > patience {
			t.Fatalf("receipt: %d %s (%v)", a.status, a.body, err)
		}
	}
}

// check wants the messages of the device to be the texts, by their urgency.
func (m *told) check(t *testing.T, d *device, got map[string]string) {
	t.Helper()
	for _, c := range m.Messages {
		data, err := base64.RawURLEncoding.DecodeString(c.Data)
		if err != nil || c.UAID != d.uaid || c.AppID != d.appid || c.Encoding != "aes128gcm" || c.TTL < 1 || c.TTL > 600 || m.Updates[c.UAID][c.Slot] == 0 {
			t.Errorf("carries %+v (%v)", c, err)
		}
		got[string(data)] = c.Urgency
	}
}

// storyMessages is POST → UPDATE with its body → ACK → receipt, for a device that
// asks for bodies.
func storyMessages(t *testing.T, at *node) {
	d := newDevice().register(t, at)
	hello := func() *ws {
		t.Helper()
		w := mustDial(t, at)
		if err := w.send(obj{"type": "hello", "agents": []obj{d.agent()}, "bodies": true}); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "hello")
		return w
	}
	got := map[string]string{}
	take := func(w *ws, n int) {
		t.Helper()
		for len(got) < n {
			var m told
			w.conn.SetReadDeadline(time.Now().Add(patience))
			if err := w.conn.ReadJSON(&m); err != nil {
				t.Fatalf("with %v: %v", got, err)
			}
			m.check(t, d, got)
			if err := w.send(obj{"type": "ack", "updates": m.Updates}); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw := string(bytes.Repeat([]byte{0, 0xff, '<', '"'}, 1024))
	w := hello()
	receipt := d.postForReceipt(t, []byte(raw), "Urgency", "high")
	take(w, 1)
	if got[raw] != "high" {
		t.Errorf("got %d messages, want one of 4 KiB, of high urgency", len(got))
	}
	awaitReceipt(t, receipt)
	w.conn.Close()

	var receipts []string
	for i := range 5 {
		receipts = append(receipts, d.postForReceipt(t, fmt.Appendf(nil, "message %d", i)))
	}
	w = hello()
	take(w, 6)
	for _, receipt := range receipts {
		awaitReceipt(t, receipt)
	}
	w.conn.Close()
}

// storyEvents is the same by server-sent events: a device that reads a stream,
// and acknowledges by requests.
func storyEvents(t *testing.T, at *node) {
	d := newDevice().register(t, at)
	s := d.events(t, at, 0)
	accepted(t, put(d.endpoint, 5))
	m := s.update(t)
	if v := m.Updates[d.uaid][d.appid]; v != 5 || m.ID != 1 {
		t.Errorf("update %+v, want version 5", m)
	}
	d.ackEvents(t, at, m.Updates)
	d.awaitState(t, 5, "delivered")

	receipt := d.postForReceipt(t, []byte("while there"))
	m = s.update(t) // not acknowledged
	s.close()
	again := d.events(t, at, m.ID)
	m = again.update(t)
	got := map[string]string{}
	m.check(t, d, got)
	if m.ID != 3 || len(got) != 1 || got["while there"] != "normal" {
		t.Errorf("again: %+v", m)
	}
	d.ackEvents(t, at, m.Updates)
	awaitReceipt(t, receipt)
}

// events is a stream of server-sent events.
type events struct {
	resp  *http.Response
	lines *bufio.Scanner
}

// events opens a stream; last is the id of the last event that was heard.
func (d *device) events(t *testing.T, at *node, last uint64) *events {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.url+"/v1/events?bodies=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal([]obj{d.agent()})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Edition "+base64.RawURLEncoding.EncodeToString(claims))
	req.Header.Set("Accept", "text/event-stream")
	if last > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatUint(last, 10))
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no limit on how long it takes
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("events: %s", resp.Status)
	}
	s := &events{resp, bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	t.Cleanup(s.close)
	if kind, data := s.next(t); kind != "hello" || !strings.Contains(data, d.uaid) {
		t.Fatalf("%s %s", kind, data)
	}
	return s
}

func (s *events) close() { s.resp.Body.Close() }

// next reads one event.
func (s *events) next(t *testing.T) (kind, data string) {
	t.Helper()
	hung := time.AfterFunc(2*patience, s.close)
	defer hung.Stop()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if kind != "" {
				return kind, data
			}
		}
	}
	t.Fatalf("the stream ended: %v", s.lines.Err())
	return "", ""
}

func (s *events) update(t *testing.T) (m told) {
	t.Helper()
	kind, data := s.next(t)
	if err := json.Unmarshal([]byte(data), &m); err != nil || kind != "update" {
		t.Fatalf("%s %s (%v)", kind, data, err)
	}
	return m
}

func (d *device) ackEvents(t *testing.T, at *node, u updates) {
	t.Helper()
	a := post(t, at.url+"/v1/ack", obj{"agents": []obj{d.agent()}, "updates": u, "bodies": true})
	if a.status != http.StatusNoContent {
		t.Fatalf("ack: %d %s", a.status, a.body)
	}
}
