package publish

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

func TestWithdraw(t *testing.T) {
	w := newWorld(t, Limits{})
	location := func(resp *http.Response) string { return w.want(resp, 201).Header.Get("Location") }
	first := location(w.post("1", "Content-Encoding", "aes128gcm"))
	second := location(w.post("2", "Content-Encoding", "aes128gcm"))
	w.want(w.do(http.MethodDelete, first, ""), 204)
	w.want(w.do(http.MethodDelete, first, ""), 410)
	if got := w.data(); got != "2" {
		t.Errorf("%s waits", got)
	}
	w.take()
	w.want(w.do(http.MethodDelete, second, ""), 410)

	old := location(w.post("a", "Topic", "t", "Content-Encoding", "aes128gcm"))
	location(w.post("b", "Topic", "t", "Content-Encoding", "aes128gcm"))
	w.want(w.do(http.MethodDelete, old, ""), 410)
	if got := w.data(); got != "b" {
		t.Errorf("%s waits", got)
	}
}

// TestWithdrawBehindRelay: a message that may have gone to a relay is withdrawn
// there too, and its receipt says at once that it never comes.
func TestWithdrawBehindRelay(t *testing.T) {
	w := newWorld(t, Limits{})
	relay, err := w.store.Relay(t.Context(), "r", "1")
	if err == nil {
		err = w.store.Bind(t.Context(), edition.Agent{UAID: w.app.UAID, Owner: relay})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"", "t"} {
		head := []string{"Content-Encoding", "aes128gcm", "Prefer", "respond-async"}
		if topic != "" {
			head = append(head, "Topic", topic)
		}
		resp := w.want(w.post("x", head...), 202)
		location, receipt := resp.Header.Get("Location"), linkOf(resp)
		answer := make(chan int)
		go func() { answer <- w.do(http.MethodGet, receipt, "", "Prefer", "wait=60").StatusCode }()
		w.want(w.do(http.MethodDelete, location, ""), 204)
		if status := <-answer; status != 410 {
			t.Errorf("receipt: %d", status)
		}
		w.want(w.do(http.MethodDelete, location, ""), 410)
		u, bodies := w.waiting()
		if len(u) != 1 || bodies == nil || !bodies[0].Withdrawn || len(bodies[0].Data) != 0 || bodies[0].TTL > time.Minute {
			t.Fatalf("%v waits, with %+v", u, bodies)
		}
		// The relay has withdrawn it.
		if err := w.store.Sent(relay, u); err != nil {
			t.Fatal(err)
		}
		if err := w.hub.Ack(relay, u, edition.AckDelivered); err != nil {
			t.Fatal(err)
		}
		w.want(w.do(http.MethodGet, receipt, ""), 410)
	}
	// A message that is worth nothing later drops the one of its topic.
	w.want(w.post("x", "Content-Encoding", "aes128gcm", "Topic", "u"), 201)
	w.want(w.do(http.MethodPost, w.endpoint, "y", "TTL", "0", "Content-Encoding", "aes128gcm", "Topic", "u"), 201)
	if u, bodies := w.waiting(); len(u) != 1 || !bodies[0].Withdrawn {
		t.Fatalf("%v waits, with %+v", u, bodies)
	}
}

// TestResourcesAreTheirHolders: a token opens what it was made for.
func TestResourcesAreTheirHolders(t *testing.T) {
	w := newWorld(t, Limits{})
	resp := w.want(w.post("x", "Content-Encoding", "aes128gcm", "Prefer", "respond-async"), 202)
	message := strings.TrimPrefix(resp.Header.Get("Location"), publicURL+"/v1/m/")
	receipt := strings.TrimPrefix(linkOf(resp), publicURL+"/v1/r/")
	endpoint := strings.TrimPrefix(w.endpoint, "/v1/e/")
	if max(len(message), len(receipt), len(endpoint)) > 128 || message == receipt {
		t.Errorf("tokens %s, %s", message, receipt)
	}
	for path, tokens := range map[string][]string{
		"/v1/m/": {receipt, endpoint, "", message[1:], message + "A", strings.Repeat("A", len(message)), message[:40] + flip(message[40]) + message[41:]},
		"/v1/r/": {message, endpoint, ""},
	} {
		for _, token := range tokens {
			method := map[string]string{"/v1/m/": http.MethodDelete, "/v1/r/": http.MethodGet}[path]
			got := w.do(method, path+token, "")
			if status, body := statusAndBody(got); status != 404 {
				t.Errorf("%s%s: %d %s", path, token, status, body)
			}
		}
	}
	for path, allow := range map[string]string{"/v1/m/" + message: "DELETE, OPTIONS", "/v1/r/" + receipt: "GET, OPTIONS"} {
		for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodHead} {
			got := w.want(w.do(method, path, ""), 405)
			if got.Header.Get("Allow") != allow {
				t.Errorf("Allow %q", got.Header.Get("Allow"))
			}
		}
		got := w.want(w.do(http.MethodOptions, path, ""), 204)
		if got.Header.Get("Access-Control-Allow-Methods") != allow || got.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("preflight %v", got.Header)
		}
	}
	if got := w.data(); got != "x" {
		t.Errorf("%s waits", got)
	}
	// A receipt that was made here may be named; the message has its own all the same.
	again := w.want(w.post("", "Prefer", "respond-async", "Link", "<"+publicURL+"/v1/r/"+receipt+`>; rel="other `+relReceipt+`"`), 202)
	if linkOf(again) == "" || strings.HasSuffix(linkOf(again), receipt) {
		t.Errorf("Link %q", again.Header.Get("Link"))
	}
}

// flip returns another character of base64url.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// held is a request for a receipt that is under way.
type held chan *http.Response

func (w *world) hold(target string, headers ...string) held {
	c := make(held, 1)
	go func() { c <- w.do(http.MethodGet, target, "", headers...) }()
	synctest.Wait()
	return c
}

func (c held) open(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case resp := <-c:
		t.Fatalf("is answered: %d", resp.StatusCode)
	default:
	}
}

func TestReceipts(t *testing.T) {
	send := func(w *world, headers ...string) string {
		w.tb.Helper()
		return linkOf(w.want(w.post("x", append(headers, "Content-Encoding", "aes128gcm", "Prefer", "respond-async")...), 202))
	}
	for name, test := range map[string]func(t *testing.T, w *world){
		"delivered while a request waits": func(t *testing.T, w *world) {
			receipt := send(w)
			one, two := w.hold(receipt), w.hold(receipt)
			one.open(t)
			start := time.Now()
			w.take()
			w.want(<-one, 204)
			w.want(<-two, 204)
			if time.Since(start) > 0 {
				t.Error("the ack was not noticed at once")
			}
			w.want(w.do(http.MethodGet, receipt, ""), 204)
		},
		"delivered before": func(t *testing.T, w *world) {
			receipt := send(w)
			w.take()
			w.want(w.do(http.MethodGet, receipt, ""), 204)
			time.Sleep(time.Minute) // its TTL
			w.want(w.do(http.MethodGet, receipt, ""), 204)
			time.Sleep(2 * time.Hour)
			w.want(w.do(http.MethodGet, receipt, ""), 410)
		},
		"waits as long as it may": func(t *testing.T, w *world) {
			receipt := send(w, "TTL-Of-Nobody", "x")
			start := time.Now()
			resp := w.want(w.do(http.MethodGet, receipt, ""), 200)
			if _, body := statusAndBody(resp); body != `{"state":"pending"}`+"\n" || time.Since(start) != receiptWait {
				t.Errorf("%s after %v", body, time.Since(start))
			}
			for wait, want := range map[string]time.Duration{"0": 0, "7": 7 * time.Second, "x": receiptWait, "-1": receiptWait} {
				start := time.Now()
				receipt := send(w)
				w.want(w.do(http.MethodGet, receipt, "", "Prefer", "wait="+wait), 200)
				if time.Since(start) != want {
					t.Errorf("wait=%s: %v", wait, time.Since(start))
				}
			}
		},
		"expires": func(t *testing.T, w *world) {
			receipt := send(w)
			time.Sleep(50 * time.Second)
			start := time.Now()
			w.want(w.do(http.MethodGet, receipt, "", "Prefer", "wait=9999"), 410)
			if took := time.Since(start); took < 10*time.Second || took > 12*time.Second {
				t.Errorf("after %v", took)
			}
			w.want(w.do(http.MethodGet, receipt, ""), 410)
		},
		"is replaced": func(t *testing.T, w *world) {
			old := send(w, "Topic", "t")
			c := w.hold(old)
			fresh := send(w, "Topic", "t")
			w.want(<-c, 410)
			w.take()
			w.want(w.do(http.MethodGet, old, ""), 410)
			w.want(w.do(http.MethodGet, fresh, ""), 204)
		},
		"delivered, then another of the topic": func(t *testing.T, w *world) {
			old := send(w, "Topic", "t")
			w.take()
			fresh := send(w, "Topic", "t")
			w.want(w.do(http.MethodGet, old, ""), 204)
			w.want(w.do(http.MethodGet, fresh, "", "Prefer", "wait=0"), 200)
		},
		"is withdrawn": func(t *testing.T, w *world) {
			resp := w.want(w.post("", "Prefer", "respond-async"), 202)
			c := w.hold(linkOf(resp))
			w.want(w.do(http.MethodDelete, resp.Header.Get("Location"), ""), 204)
			w.want(<-c, 410)
		},
		"makes room": func(t *testing.T, w *world) {
			c := w.hold(send(w))
			for range 3 {
				w.want(w.post(""), 201)
			}
			w.want(<-c, 410)
		},
		"its app is unregistered": func(t *testing.T, w *world) {
			c := w.hold(send(w))
			if err := w.store.Unregister(t.Context(), w.app); err != nil {
				t.Fatal(err)
			}
			w.want(<-c, 410)
		},
		"through a relay that answers for it": func(t *testing.T, w *world) {
			relay, err := w.store.Relay(t.Context(), "north", "1")
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.Bind(t.Context(), edition.Agent{UAID: w.app.UAID, Owner: relay}); err != nil {
				t.Fatal(err)
			}
			c := w.hold(send(w))
			u, _ := w.waiting()
			if err := w.store.Sent(relay, u); err != nil {
				t.Fatal(err)
			}
			for _, state := range []edition.AckState{edition.AckStored, edition.AckReleased} {
				if err := w.hub.Ack(relay, u, state); err != nil {
					t.Fatal(err)
				}
				c.open(t)
			}
			if err := w.hub.Ack(relay, u, edition.AckDelivered); err != nil {
				t.Fatal(err)
			}
			w.want(<-c, 204)
		},
		"the server drains": func(t *testing.T, w *world) {
			c := w.hold(send(w))
			w.Drain()
			w.want(<-c, 503)
		},
		"too many wait": func(t *testing.T, w *world) {
			receipt := send(w)
			one, two := w.hold(receipt), w.hold(receipt)
			resp := w.want(w.do(http.MethodGet, receipt, ""), 503)
			if resp.Header.Get("Retry-After") != "5" {
				t.Errorf("header %v", resp.Header)
			}
			w.take()
			w.want(<-one, 204)
			w.want(<-two, 204)
			w.want(w.do(http.MethodGet, receipt, ""), 204)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, Limits{Receipts: 2})) })
		})
	}
}
