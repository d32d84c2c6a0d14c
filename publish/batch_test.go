package publish

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

// serve puts the fixture's handler behind an in-memory listener, so that
// net/http takes part in a synctest bubble too.
func (f *fixture) serve(t *testing.T) *http.Client {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: f.Publisher, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		l.conns <- there
		return here, nil
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
		<-done
	})
	return &http.Client{Transport: tr}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.closed); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// post sends a batch and returns the answer's body, still open.
func post(t *testing.T, c *http.Client, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://memory/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestBatchAnswersLineByLine(t *testing.T) {
	f := newFixture(t, Limits{})
	second := newKey()
	token := f.keys.Seal(second)
	at := func(endpoint string) string { return fmt.Sprintf(`{"endpoint":"%s","version":9}`, endpoint) }
	lines := []struct{ in, want string }{
		{strings.TrimSuffix(f.line(5), "\n"), `{"status":202,"version":5}`},
		{fmt.Sprintf(`{"endpoint":"%s","version":7}`, token), `{"status":202,"version":7}`},
		{`{"version":3,"x":[{}],"endpoint":"` + f.token + `"}` + "\r", `{"status":202,"version":5,"superseded":true}`},
		{"  ", ""},
		{at("HTTPS://PUSH.Example:443/v1/e/" + token), `{"status":202,"version":9}`},
		{"not json", `400`},
		{`[]`, `400`},
		{`{"endpoint":5,"version":5}`, `400`},
		{`{"endpoint":null,"version":5}`, `400`},
		{`{"version":5}`, `400`},
		{`{"endpoint":"` + f.token + `"}`, `400`},
		{`{"endpoint":"` + f.token + `","version":05}`, `400`},
		{`{"endpoint":"` + f.token + `","version":5.0}`, `400`},
		{`{"endpoint":"` + f.token + `","version":-1}`, `400`},
		{`{"endpoint":"` + f.token + `","version":"5"}`, `400`},
		{`{"endpoint":"` + f.token + `","version":5,"version":5}`, `400`},
		{`{"endpoint":"` + f.token + `","endpoint":"` + f.token + `","version":5}`, `400`},
		{`{"endpoint":"` + f.token + `","version":5} {}`, `400`},
		{`{"endpoint":"` + f.token + `","version":9223372036854775808}`, `400`},
		{at("forged"), `404`},
		{at(ring(t, 3).Seal(newKey())), `404`},
		{at("https://other.example/v1/e/" + token), `404`},
		{at("http://push.example/v1/e/" + token), `404`},
		{at("https://push.example:8443/v1/e/" + token), `404`},
		{at("https://push.example.evil/v1/e/" + token), `404`},
		{at("https://user@push.example/v1/e/" + token), `404`},
		{at("https://push.example/v1/e/" + token + "?x"), `404`},
		{at("https://push.example/v1/events"), `404`},
		{at("https://push.example/v1/e/"), `404`},
		{at("://"), `404`},
		{`{"endpoint":"` + f.token + `","x":"` + strings.Repeat("x", maxLine) + `","version":5}`, `413`},
		{strings.Repeat("x", 3*readAhead), `413`},
		{at(token), `{"status":202,"version":9}`}, // the last without a line end
	}
	var in []string
	var want []string
	for _, l := range lines {
		in = append(in, l.in)
		if l.want != "" {
			want = append(want, l.want)
		}
	}
	resp := post(t, f.serve(t), strings.NewReader(strings.Join(in, "\n")))
	status, body := statusAndBody(resp)
	if status != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v", status, resp.Header)
	}
	got := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d lines:\n%s", len(got), len(want), body)
	}
	for i := range got {
		var a struct {
			Status        int
			Title, Detail string
		}
		if err := json.Unmarshal([]byte(got[i]), &a); err != nil {
			t.Errorf("line %d: %s: %v", i, got[i], err)
		}
		switch {
		case len(want[i]) == 3 && (fmt.Sprint(a.Status) != want[i] || a.Title == "" || a.Detail == ""):
			t.Errorf("line %d: %s, want status %s", i, got[i], want[i])
		case len(want[i]) > 3 && !sameButSuperseded(got[i], want[i]):
			t.Errorf("line %d: %s, want %s", i, got[i], want[i])
		}
	}
	for _, u := range f.delivered() {
		for i, e := range u {
			if e.Key != f.key && e.Key != second || i > 0 && u[i-1].Key.Compare(e.Key) >= 0 {
				t.Errorf("delivered %v", u)
			}
		}
	}
}

// sameButSuperseded allows a version to be superseded by a later line, or not:
// that depends on how the lines come in.
func sameButSuperseded(got, want string) bool {
	return got == want || got == `{"status":202,"version":9,"superseded":true}` && want == `{"status":202,"version":7}` ||
		got == `{"status":202,"version":3}` && want == `{"status":202,"version":5,"superseded":true}`
}

// Lines that are there together are one delivery, and so one commit.
func TestBatchIsDeliveredInChunks(t *testing.T) {
	f := newFixture(t, Limits{})
	const n = 20_000
	var in strings.Builder
	for i := range n {
		key := f.key
		key.AppID[0], key.AppID[1] = byte(i>>8), byte(i)
		fmt.Fprintf(&in, `{"endpoint":"%s","version":%d}`+"\n", f.keys.Seal(key), i)
	}
	_, body := statusAndBody(post(t, f.serve(t), strings.NewReader(in.String())))
	for i, line := range strings.SplitAfter(body, "\n") {
		if want := fmt.Sprintf(`{"status":202,"version":%d}`+"\n", i); i < n && line != want {
			t.Fatalf("answer %d is %s", i, line)
		}
	}
	if strings.Count(body, "\n") != n {
		t.Errorf("%d answers to %d lines", strings.Count(body, "\n"), n)
	}
	if chunks := len(f.delivered()); chunks < n/maxChunk || chunks > n/50 {
		t.Errorf("%d lines in %d deliveries", n, chunks)
	}
}

// The greatest version of a key counts, whatever the order within a chunk.
func TestBatchWithOneKeyManyTimes(t *testing.T) {
	f := newFixture(t, Limits{})
	c := newChunk(f.Publisher, KeyHash{})
	for _, v := range []edition.Version{3, 9, 9, 1} {
		c.addText([]byte(f.line(v)))
	}
	c.addText([]byte("bad"))
	c.deliver(f.Publisher)
	out := string(c.answers(nil))
	first, rest, _ := strings.Cut(out, `{"status":400`)
	want := `{"status":202,"version":9,"superseded":true}
{"status":202,"version":9}
{"status":202,"version":9}
{"status":202,"version":9,"superseded":true}
`
	if first != want || rest == "" {
		t.Errorf("answered\n%s", out)
	}
	if u := f.delivered(); len(u) != 1 || len(u[0]) != 1 || u[0][0].Version != 9 {
		t.Errorf("delivered %v", u)
	}
}

func TestBatchResults(t *testing.T) {
	for want, res := range map[string]edition.Result{
		`{"status":200,"version":6}`:                    {Outcome: edition.OutcomeDelivered, Version: 6},
		`{"status":202,"version":6,"superseded":true}`:  {Outcome: edition.OutcomeStored, Version: 6, Superseded: true},
		`{"status":410,"title":"Gone",`:                 {Outcome: edition.OutcomeGone},
		`{"status":503,"title":"Service Unavailable",`:  {Outcome: edition.OutcomeFailed, Err: edition.ErrUnavailable},
		`{"status":503,"title":"Service Unavailable","`: {Outcome: edition.OutcomeFailed, Err: fmt.Errorf("/x: %w", edition.ErrDisk)},
	} {
		f := newFixture(t, Limits{})
		f.answer = resolveAll(res)
		_, body := statusAndBody(post(t, f.serve(t), strings.NewReader(f.line(5))))
		if !strings.HasPrefix(body, want) || strings.Count(body, "\n") != 1 || strings.Contains(body, "/x") {
			t.Errorf("%+v: %s", res, body)
		}
		if res.Outcome == edition.OutcomeFailed && !strings.Contains(body, `"retry_after":5`) {
			t.Errorf("%+v: %s does not say when", res, body)
		}
	}
}

// A line is answered while the next one has not been written yet.
func TestBatchIsFullDuplex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		in, out := io.Pipe()
		resp := make(chan *http.Response)
		c := f.serve(t)
		go func() { resp <- post(t, c, in) }()
		var answers *bufio.Reader
		for i := range 5 {
			time.Sleep(50 * time.Second) // less than Idle; together more
			if _, err := io.WriteString(out, f.line(edition.Version(i))); err != nil {
				t.Fatal(err)
			}
			if answers == nil {
				answers = bufio.NewReader((<-resp).Body)
			}
			if line, err := answers.ReadString('\n'); err != nil || line != fmt.Sprintf(`{"status":202,"version":%d}`+"\n", i) {
				t.Fatalf("%q, %v", line, err)
			}
		}
		out.Close()
		if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
