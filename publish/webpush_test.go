package publish

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

func TestPost(t *testing.T) {
	w := newWorld(t, Limits{})
	for _, c := range []struct {
		body    string
		headers []string
		ttl     string // as answered
		want    edition.Body
	}{
		{"", nil, "60", edition.Body{Urgency: edition.UrgencyNormal}},
		{"x", []string{"Content-Encoding", "aes128gcm"}, "60", edition.Body{Urgency: edition.UrgencyNormal, Encoding: "aes128gcm", Data: []byte("x")}},
		{"x", []string{"Content-Encoding", "AES128GCM", "Urgency", "Very-Low"}, "60", edition.Body{Urgency: edition.UrgencyVeryLow, Encoding: "aes128gcm", Data: []byte("x")}},
		{
			"x",
			[]string{"Content-Encoding", "aesgcm", "Encryption", "keyid=p256dh;salt=abc", "Crypto-Key", "keyid=p256dh;dh=def", "Crypto-Key", "p256ecdsa=ghi"},
			"60",
			edition.Body{Urgency: edition.UrgencyNormal, Encoding: "aesgcm", Encryption: "keyid=p256dh;salt=abc", CryptoKey: "keyid=p256dh;dh=def,p256ecdsa=ghi", Data: []byte("x")},
		},
		{"", []string{"Content-Encoding", "aesgcm", "Urgency", "high"}, "60", edition.Body{Urgency: edition.UrgencyHigh}},
		{"", []string{"Topic", strings.Repeat("aZ09-_", 5) + "ab"}, "60", edition.Body{Urgency: edition.UrgencyNormal}},
		{strings.Repeat("\x00", 4096), []string{"Content-Encoding", "aes128gcm"}, "60", edition.Body{Urgency: edition.UrgencyNormal, Encoding: "aes128gcm", Data: make([]byte, 4096)}},
		{"", []string{"Prefer", "wait=5, respond-async"}, "60", edition.Body{Urgency: edition.UrgencyNormal, Receipt: true}},
	} {
		resp := w.post(c.body, c.headers...)
		status := 201
		if c.want.Receipt {
			status = 202
		}
		w.want(resp, status)
		h := resp.Header
		if h.Get("TTL") != c.ttl || !strings.HasPrefix(h.Get("Location"), publicURL+"/v1/m/") || h.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location") || (h.Get("Link") != "") != c.want.Receipt {
			t.Errorf("%v: header %v", c.headers, h)
		}
		u, bodies := w.waiting()
		if len(u) != 1 || bodies[0] == nil || !u[0].AppID.IsSlot() {
			t.Fatalf("%v: %v waits", c.headers, u)
		}
		got := *bodies[0]
		c.want.AppID, c.want.TTL = w.app.AppID, got.TTL
		if fmt.Sprint(got) != fmt.Sprint(c.want) || got.TTL <= 0 || got.TTL > time.Minute {
			t.Errorf("%v: carries %+v", c.headers, got)
		}
		w.take()
	}
}

func TestPostRefuses(t *testing.T) {
	w := newWorld(t, Limits{})
	gcm := []string{"Content-Encoding", "aesgcm"}
	for _, c := range []struct {
		status  int
		body    string
		headers []string
	}{
		{400, "", nil},
		{400, "", []string{"TTL", ""}},
		{400, "", []string{"TTL", "-1"}},
		{400, "", []string{"TTL", "+1"}},
		{400, "", []string{"TTL", "1.5"}},
		{400, "", []string{"TTL", " 1"}},
		{400, "", []string{"TTL", "1h"}},
		{400, "", []string{"TTL", "1", "TTL", "2"}},
		{400, "", []string{"TTL", "1", "Urgency", "urgent"}},
		{400, "", []string{"TTL", "1", "Urgency", ""}},
		{400, "", []string{"TTL", "1", "Urgency", "low", "Urgency", "high"}},
		{400, "", []string{"TTL", "1", "Topic", ""}},
		{400, "", []string{"TTL", "1", "Topic", strings.Repeat("a", 33)}},
		{400, "", []string{"TTL", "1", "Topic", "a b"}},
		{400, "", []string{"TTL", "1", "Topic", "a="}},
		{400, "", []string{"TTL", "1", "Topic", "ä"}},
		{400, "", []string{"TTL", "1", "Topic", "a", "Topic", "b"}},
		{400, "plain", []string{"TTL", "1"}},
		{400, "plain", []string{"TTL", "1", "Content-Encoding", "identity"}},
		{415, "x", []string{"TTL", "1", "Content-Encoding", "gzip"}},
		{415, "x", []string{"TTL", "1", "Content-Encoding", "aes128gcm, gzip"}},
		{415, "x", []string{"TTL", "1", "Content-Encoding", "aes128gcm", "Content-Encoding", "aes128gcm"}},
		{400, "x", append([]string{"TTL", "1"}, gcm...)},
		{400, "x", append([]string{"TTL", "1", "Encryption", "salt=x"}, gcm...)},
		{400, "x", append([]string{"TTL", "1", "Encryption", "salt=x", "Crypto-Key", "p256ecdsa=x"}, gcm...)},
		{400, "x", append([]string{"TTL", "1", "Encryption", "salt=x", "Crypto-Key", "dh=" + strings.Repeat("x", 600)}, gcm...)},
		{400, "x", append([]string{"TTL", "1", "Encryption", "salt=" + strings.Repeat("x", 600), "Crypto-Key", "dh=x"}, gcm...)},
		{413, strings.Repeat("x", 4097), []string{"TTL", "1", "Content-Encoding", "aes128gcm"}},
		{400, "", []string{"TTL", "1", "Prefer", "respond-async", "Link", `<https://push.example/v1/r/forged>; rel="` + relReceipt + `"`}},
		{400, "", []string{"TTL", "1", "Prefer", "respond-async", "Link", `<https://other.example/>; rel=` + relReceipt}},
		{400, "", []string{"TTL", "1", "Prefer", "respond-async", "Link", `<%zz>; rel=` + relReceipt}},
	} {
		resp := w.do(http.MethodPost, w.endpoint, c.body, c.headers...)
		if status, body := statusAndBody(resp); status != c.status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.80q: %d %s, want %d", c.headers, status, body, c.status)
		}
		if c.status == 415 && resp.Header.Get("Accept-Encoding") != "aes128gcm, aesgcm" {
			t.Errorf("415 does not say what is taken: %v", resp.Header)
		}
	}
	if u, _ := w.waiting(); len(u) > 0 {
		t.Errorf("had an effect: %v", u)
	}
	r := httptest.NewRequest(http.MethodPost, w.endpoint, io.LimitReader(endless{}, 10<<20)) // its length is not told
	r.Header.Set("TTL", "1")
	rec := httptest.NewRecorder()
	if w.ServeHTTP(rec, r); rec.Code != 413 {
		t.Errorf("10 MB: %d", rec.Code)
	}
}

func TestPostTTLIsBounded(t *testing.T) {
	w := newWorld(t, Limits{})
	for said, want := range map[string]string{"2592001": "2592000", "99999999999999999999999999": "2592000", "0086400": "86400"} {
		resp := w.want(w.do(http.MethodPost, w.endpoint, "", "TTL", said), 201)
		if got := resp.Header.Get("TTL"); got != want {
			t.Errorf("%s is echoed as %s", said, got)
		}
		if _, bodies := w.waiting(); bodies[0].TTL > edition.MaxBodyTTL {
			t.Errorf("%s is kept as %v", said, bodies[0].TTL)
		}
		w.take()
	}
}

// TestPostTopics: a topic has the last message, others stand in a row.
func TestPostTopics(t *testing.T) {
	w := newWorld(t, Limits{})
	send := func(text string, headers ...string) {
		t.Helper()
		w.want(w.post(text, append(headers, "Content-Encoding", "aes128gcm")...), 201)
	}
	send("1")
	send("2")
	if got := w.data(); got != "1 2" {
		t.Errorf("in a row: %s", got)
	}
	w.take()
	send("a", "Topic", "x")
	send("b", "Topic", "y")
	send("c", "Topic", "x")
	if got := w.data(); strings.Contains(got, "a") || len(got) != 3 {
		t.Errorf("topics: %s", got)
	}
}

// TestPostWithoutRoom: the oldest of a device make room, those of higher
// urgency do not.
func TestPostWithoutRoom(t *testing.T) {
	w := newWorld(t, Limits{}) // of three messages
	for _, text := range []string{"1", "2", "3", "4"} {
		w.want(w.post(text, "Content-Encoding", "aes128gcm"), 201)
	}
	if got := w.data(); got != "2 3 4" {
		t.Errorf("%s waits", got)
	}
	resp := w.want(w.post("", "Urgency", "low"), 429)
	if resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("header %v", resp.Header)
	}
}

func TestPostToWhatIsGone(t *testing.T) {
	w := newWorld(t, Limits{})
	if err := w.store.Unregister(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []string{"0", "60"} {
		resp := w.want(w.do(http.MethodPost, w.endpoint, "", "TTL", ttl), 410)
		if got := resp.Header.Get("Cache-Control"); got != "max-age=86400" {
			t.Errorf("Cache-Control %q", got)
		}
	}
	for _, token := range []string{"forged", w.keys.sealParcel(formatMessage, parcel{}), w.keys.sealParcel(formatReceipt, parcel{})} {
		w.want(w.do(http.MethodPost, "/v1/e/"+token, "", "TTL", "0"), 404)
	}
}

// TestEvictedIsNotGone: a message that had to make room before it was kept does
// not tell its app server to give the endpoint up.
func TestEvictedIsNotGone(t *testing.T) {
	f := newFixture(t, Limits{})
	f.answer = resolveAll(edition.Result{Outcome: edition.OutcomeGone})
	for want, err := range map[int]error{429: nil, 410: edition.ErrGone} {
		f.state = func(edition.Key) (edition.EndpointState, error) { return edition.EndpointState{}, err }
		r := httptest.NewRequest(http.MethodPost, "/v1/e/"+f.token, nil)
		r.Header.Set("TTL", "60")
		rec := httptest.NewRecorder()
		if f.ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("%d, want %d", rec.Code, want)
		}
	}
}

// TestPostNowOrNever: a TTL of 0 is for those who are connected.
func TestPostNowOrNever(t *testing.T) { synctest.Test(t, testNowOrNever) }

func testNowOrNever(t *testing.T) {
	w := newWorld(t, Limits{})
	now := func(headers ...string) *http.Response {
		t.Helper()
		resp := w.do(http.MethodPost, w.endpoint, "x", append(headers, "TTL", "0", "Content-Encoding", "aes128gcm")...)
		if resp.Header.Get("TTL") != "0" || resp.Header.Get("Location") == "" {
			t.Errorf("header %v", resp.Header)
		}
		return resp
	}
	device := edition.Holder{UAID: w.app.UAID}
	dropped := w.want(now("Prefer", "respond-async"), 202)
	if got := w.data(); got != "" {
		t.Errorf("nobody is connected: %s", got)
	}
	w.want(w.do(http.MethodDelete, dropped.Header.Get("Location"), ""), 410)
	w.want(w.do(http.MethodGet, linkOf(dropped), ""), 410)

	w.want(w.post("old", "Topic", "t", "Content-Encoding", "aes128gcm"), 201)
	again := w.want(now("Topic", "t", "Prefer", "respond-async"), 202)
	if got := w.data(); got != "" {
		t.Errorf("what a dropped message replaces: %s", got)
	}
	w.want(w.post("new", "Topic", "t", "Content-Encoding", "aes128gcm"), 201)
	w.want(w.do(http.MethodGet, linkOf(again), ""), 410)
	w.take()

	bell := &silent{}
	w.hub.Attach(device, bell)
	w.want(now(), 201)
	_, bodies := w.waiting()
	if len(bodies) != 1 || bodies[0].TTL > passing {
		t.Errorf("connected: %v", bodies)
	}
	w.take()
	w.hub.Detach(device, bell)

	relay, err := w.store.Relay(t.Context(), "north", "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Bind(t.Context(), edition.Agent{UAID: w.app.UAID, Owner: relay}); err != nil {
		t.Fatal(err)
	}
	w.want(now(), 201)
	if got := w.data(); got != "" {
		t.Errorf("its relay is away: %s", got)
	}
	w.hub.Attach(edition.Holder{Owner: relay}, bell)
	w.want(now(), 201)
	if got := w.data(); got != "x" {
		t.Errorf("its relay is connected: %s", got)
	}
}

// linkOf returns the receipt that an answer links to.
func linkOf(resp *http.Response) string {
	for target := range receiptLinks(resp.Header["Link"]) {
		return target
	}
	return ""
}

func BenchmarkPost(b *testing.B) {
	done := edition.NewReceipt(1)
	done.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 1})
	keys, a := ring(b, 1), newAppServer(b)
	p := New(Options{
		Keys: keys, PublicURL: publicURL,
		Deliver: func(edition.Update, edition.Delivery) *edition.Receipt { return done },
	})
	body := strings.NewReader("")
	r := httptest.NewRequest(http.MethodPost, "/v1/e/"+keys.SealFor(newKey(), a.point), nil)
	r.Header.Set("TTL", "60")
	r.Header.Set("Content-Encoding", codingAES128GCM)
	r.Header.Set("Authorization", a.authorization(b))
	text := strings.Repeat("x", 2000)
	r.Body, r.ContentLength = io.NopCloser(body), int64(len(text))
	w := &sink{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(text)
		clear(w.h)
		p.ServeHTTP(w, r)
	}
	if w.status != http.StatusCreated {
		b.Fatal(w.status)
	}
}
