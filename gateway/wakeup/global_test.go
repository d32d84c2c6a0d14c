package wakeup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edition-push/edition/gateway/wakeup"
)

// TestGlobal goes all the way: a push server asks the global node, that asks
// the local one, and the device gets its datagram.
func TestGlobal(t *testing.T) {
	_, url, _ := start(t, wakeup.Options{Access: loopback(), Global: wakeup.Global{Networks: []wakeup.Network{
		{MCC: "214", MNC: "07", Host: local(t) + "/", Ranges: prefixes("127.0.0.0/8")},
	}}})
	c, port := phone(t)
	for _, body := range []string{
		"mcc=214&mnc=07", "netid=214-07.default", "mcc=214&mnc=07&netid=default", "mcc=214&mnc=07&proto=udp",
	} {
		if status, text, _ := call(t, "POST", url+"/wakeup/v1", body+"&ip=127.0.0.1&port="+port); status != 200 || text != "Accepted" {
			t.Errorf("%s: %d %s", body, status, text)
		}
		if got, want := read(t, c), "NOTIFY 127.0.0.1:"+port; got != want {
			t.Errorf("%s: the device got %q, want %q", body, got, want)
		}
	}
	call(t, "POST", url+"/wakeup/v1", "mcc=214&mnc=07&confirm=ABCD1234&ip=127.0.0.1&port="+port)
	if got := read(t, c); !strings.HasSuffix(got, " ABCD1234") {
		t.Errorf("with a code the device got %q", got)
	}
}

// TestGlobalIsLocal: a network without a host is where this node is.
func TestGlobalIsLocal(t *testing.T) {
	k := new(noted)
	_, url, _ := start(t, wakeup.Options{Access: loopback(), Kicks: k, Driver: "local", Global: wakeup.Global{Networks: []wakeup.Network{
		{NetID: "here", Ranges: prefixes("10.0.0.0/8"), Protocols: []string{"tcp"}},
	}}})
	if status, text, _ := call(t, "POST", url+"/wakeup/v1", "netid=here&ip=10.0.0.1&port=4000"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if got, want := strings.Join(k.all(), " "), `{"driver":"local","ip":"10.0.0.1","port":4000,"proto":"tcp"}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// table has networks of all sorts.
func table(host string) wakeup.Global {
	return wakeup.Global{Timeout: 2 * patience, Networks: []wakeup.Network{
		{MCC: "214", MNC: "07", Host: host, Ranges: prefixes("10.0.0.0/8")},
		{NetID: "plant", Host: host, Ranges: prefixes("10.1.0.0/16", "2001:db8::/32"), Protocols: []string{"udp"}},
		{NetID: "closed", Host: host, Ranges: prefixes("10.0.0.0/8"), Offline: true},
		{NetID: "north", MCC: "001", MNC: "01", Host: host, Ranges: prefixes("10.1.0.0/16")},
		{NetID: "south", MCC: "001", MNC: "01", Host: host, Ranges: prefixes("10.2.0.0/16")},
	}}
}

func TestGlobalAnswers(t *testing.T) {
	asked := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			asked <- r.URL.RequestURI()
		}
	}))
	defer s.Close()
	_, url, _ := start(t, wakeup.Options{Access: loopback(), Global: table(s.URL)})
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "/wakeup/v1", "", 400, "no parameters"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000", 400, "netid"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&mcc=214", 400, "netid"},
		{"POST", "/wakeup/v1", "ip=x&port=4000&netid=plant", 400, "ip"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=0&netid=plant", 400, "port"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&netid=nowhere", 404, "No such network"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&mcc=999&mnc=99", 404, "No such network"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&netid=nowhere&mcc=214&mnc=07", 404, "No such network"},
		{"POST", "/wakeup/v1", "ip=10.2.1.1&port=4000&netid=plant", 400, "outside the range"},
		{"POST", "/wakeup/v1", "ip=127.0.0.1&port=4000&netid=plant", 400, "outside the range"},
		{"POST", "/wakeup/v1", "ip=169.254.169.254&port=4000&mcc=214&mnc=07", 400, "outside the range"},
		{"POST", "/wakeup/v1", "ip=10.3.1.1&port=4000&mcc=001&mnc=01", 400, "outside the range"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&netid=plant&proto=tcp", 400, "does not take tcp"},
		{"POST", "/wakeup/v1", "ip=10.1.1.1&port=4000&netid=closed", 503, "closed is offline"},
		{"GET", "/wakeup/v1?ip=10.1.1.1&port=4000&netid=plant", "", 405, "POST"},
		{"POST", "/netinfo/v1", "", 405, "GET"},
		{"GET", "/wakeup?ip=10.1.1.1&port=4000", "", 404, "Not found"},
	} {
		status, text, header := call(t, c.method, url+c.path, c.body)
		if status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %s: %d %q, want %d … %s", c.method, c.path, c.body, status, text, c.status, c.text)
		}
		if (status == 503) != (header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", c.body, header.Get("Retry-After"))
		}
	}
	if len(asked) > 0 {
		t.Fatalf("the local node was asked: %s", <-asked)
	}
	for body, want := range map[string]string{
		"ip=10.1.1.1&port=4000&netid=plant":           "/wakeup?ip=10.1.1.1&port=4000&proto=udp",
		"ip=2001:db8::1&port=4000&netid=plant":        "/wakeup?ip=2001%3Adb8%3A%3A1&port=4000&proto=udp",
		"ip=10.1.1.2&port=4001&mcc=214&mnc=07":        "/wakeup?ip=10.1.1.2&port=4001",
		"ip=10.2.1.2&port=4002&mcc=001&mnc=01":        "/wakeup?ip=10.2.1.2&port=4002",
		"ip=10.1.1.2&port=9&mcc=214&mnc=07&proto=tcp": "/wakeup?ip=10.1.1.2&port=9&proto=tcp",
	} {
		if status, text, _ := call(t, "POST", url+"/wakeup/v1", body); status != 200 {
			t.Errorf("%s: %d %s", body, status, text)
		}
		select {
		case got := <-asked:
			if got != want {
				t.Errorf("%s: the local node was asked %s, want %s", body, got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the local node was not asked", body)
		}
	}
}

// TestNetInfo has the form that push servers read.
func TestNetInfo(t *testing.T) {
	_, url, _ := start(t, wakeup.Options{Access: loopback(), Global: table("http://127.0.0.1:1")})
	status, text, header := call(t, "GET", url+"/netinfo/v1", "")
	var got struct {
		Nets []struct {
			NetID   string `json:"netid"`
			MCCMNC  string `json:"mccmnc"`
			Range   any    `json:"range"`
			Offline *bool  `json:"offline"`
		} `json:"nets"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || header.Get("Content-Type") != "application/json" || len(got.Nets) != 5 {
		t.Fatalf("%d %s", status, text)
	}
	first, second := got.Nets[0], got.Nets[1]
	if first.NetID != "214-07.default" || first.MCCMNC != "214-07" || first.Range != "10.0.0.0/8" || first.Offline == nil {
		t.Errorf("got %+v", first)
	}
	if fmt.Sprint(second.Range) != "[10.1.0.0/16 2001:db8::/32]" || second.MCCMNC != "" {
		t.Errorf("got %+v", second)
	}
	if !*got.Nets[2].Offline {
		t.Errorf("got %+v", got.Nets[2])
	}
}

// TestOnward: what a local node is told about who asked.
func TestOnward(t *testing.T) {
	heads := make(chan http.Header, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wakeup" {
			heads <- r.Header
		}
	}))
	defer s.Close()
	access := wakeup.Access{Proxies: prefixes("10.9.0.1/32"), Networks: prefixes("192.0.2.0/24")}
	n, err := wakeup.New(wakeup.Options{Access: access, Global: table(s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, n.Run)
	for _, c := range []struct{ from, real, via, wantReal, wantVia, wantDN string }{
		{"192.0.2.7:1", "", "", "192.0.2.7", "192.0.2.7", ""},
		{"192.0.2.7:1", "10.66.6.6", "10.66.6.6", "192.0.2.7", "10.66.6.6, 192.0.2.7", ""},
		{"10.9.0.1:1", "198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.1, 10.9.0.1", "CN=push"},
	} {
		r := httptest.NewRequest("POST", "/wakeup/v1", strings.NewReader("ip=10.1.1.1&port=4000&netid=plant"))
		r.RemoteAddr = c.from
		r.Header.Set("X-Tracking-ID", "t1")
		r.Header.Set("X-Client-Cert-Verified", "SUCCESS")
		r.Header.Set("X-Client-Cert-DN", "CN=push")
		if c.real != "" {
			r.Header.Set("X-Real-IP", c.real)
			r.Header.Set("X-Forwarded-For", c.via)
		}
		w := httptest.NewRecorder()
		if n.ServeHTTP(w, r); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		select {
		case h := <-heads:
			if h.Get("X-Tracking-ID") != "t1" || h.Get("X-Real-IP") != c.wantReal || h.Get("X-Forwarded-For") != c.wantVia ||
				h.Get("X-Client-Cert-Verified") != "SUCCESS" || h.Get("X-Client-Cert-DN") != c.wantDN {
				t.Errorf("from %s: %v", c.from, h)
			}
		case <-time.After(patience):
			t.Fatal("the local node was not asked")
		}
	}
}

// TestChecks has a local node go away and come back.
func TestChecks(t *testing.T) {
	var down atomic.Bool
	var checks atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			return
		}
		checks.Add(1)
		if r.Header.Get("X-Client-Cert-Verified") != "SUCCESS" || down.Load() {
			http.Redirect(w, r, "/elsewhere", http.StatusFound) // as a portal does: no answer of a node
		}
	}))
	defer s.Close()
	o := table(s.URL)
	o.CheckEvery = 5 * time.Millisecond
	_, url, _ := start(t, wakeup.Options{Access: loopback(), Global: o})
	ask := func() int {
		status, _, _ := call(t, "POST", url+"/wakeup/v1", "ip=10.1.1.1&port=4000&netid=plant")
		return status
	}
	until(t, "the first check", func() bool { return checks.Load() > 0 })
	if ask() != 200 {
		t.Error("a node that is there is offline")
	}
	down.Store(true)
	until(t, "503", func() bool { return ask() == 503 })
	offline := func() int {
		_, text, _ := call(t, "GET", url+"/netinfo/v1", "")
		return strings.Count(text, `"offline":true`)
	}
	// The networks of one node change one after the other.
	until(t, "all are offline", func() bool { return offline() == len(o.Networks) })
	down.Store(false)
	until(t, "200", func() bool { return ask() == 200 })
	until(t, "only that is offline which the operator has taken out", func() bool { return offline() == 1 })
}

// TestStuckLocalNode: a local node that does not answer holds up neither
// callers nor other networks, and those who come while it has enough to do are
// told so.
func TestStuckLocalNode(t *testing.T) {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	var held sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wakeup" && strings.HasPrefix(r.URL.Query().Get("ip"), "10.1.") {
			<-hold
		}
	}))
	defer s.Close()
	defer release()
	o := table(s.URL)
	o.Parallel = 2
	_, url, stop := start(t, wakeup.Options{Access: loopback(), Global: o})
	ask := func(body string) int {
		status, _, _ := call(t, "POST", url+"/wakeup/v1", body+"&port=4000")
		return status
	}
	for i := range 2 {
		if code := ask("netid=north&ip=10.1.1.1"); code != 200 {
			t.Errorf("request %d: %d", i, code)
		}
	}
	if code := ask("netid=north&ip=10.1.1.1"); code != 503 {
		t.Errorf("a third beside two that hang: %d", code)
	}
	if code := ask("netid=south&ip=10.2.1.1"); code != 200 {
		t.Errorf("another network: %d", code)
	}
	// The end waits for what was taken.
	held.Go(stop)
	until(t, "its end begins", func() bool {
		status, _, _ := call(t, "GET", url+"/status", "")
		return status == 503
	})
	if code := ask("netid=214-07.default&ip=10.2.1.1"); code != 503 {
		t.Errorf("while it ends: %d", code)
	}
	release()
	held.Wait()
}
