package publish

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

// open starts a batch with one line and returns its two ends once the line has
// been answered.
func open(t *testing.T, f *fixture, c *http.Client) (in *io.PipeWriter, out *bufio.Reader) {
	t.Helper()
	body, in := io.Pipe()
	go io.WriteString(in, f.line(1))
	out = bufio.NewReader(post(t, c, body).Body)
	if line, err := out.ReadString('\n'); err != nil || line != `{"status":202,"version":1}`+"\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return in, out
}

func TestBatchThatIsIdleEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		in, out := open(t, f, f.serve(t))
		start := time.Now()
		if _, err := io.WriteString(in, f.line(2)[:20]); err != nil { // a part of a line is none
			t.Fatal(err)
		}
		rest, err := io.ReadAll(out)
		if !strings.Contains(string(rest), `{"status":503`) || strings.Count(string(rest), "\n") != 1 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second || len(f.delivered()) != 1 {
			t.Errorf("after %v, delivered %v", took, f.delivered())
		}
		in.Close()
	})
}

func TestDrainEndsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		in, out := open(t, f, f.serve(t))
		start := time.Now()
		f.Drain()
		rest, err := io.ReadAll(out)
		if !strings.Contains(string(rest), "shutting down") || strings.Count(string(rest), "\n") != 1 || err != nil || time.Since(start) > time.Second {
			t.Errorf("%q, %v", rest, err)
		}
		in.Close()
	})
}

// What was read before the drain is answered as it ends.
func TestDrainAnswersWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		in, out := open(t, f, f.serve(t))
		f.mu.Lock()
		f.answer = func(u edition.Update, r *edition.Receipt) {
			time.AfterFunc(5*time.Second, func() {
				r.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: u[0].Version})
			})
		}
		f.mu.Unlock()
		if _, err := io.WriteString(in, f.line(2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.Drain()
		rest, err := io.ReadAll(out)
		lines := strings.Split(string(rest), "\n")
		if err != nil || len(lines) != 3 || lines[0] != `{"status":202,"version":2}` || !strings.Contains(lines[1], `"status":503`) {
			t.Errorf("%q, %v", rest, err)
		}
		in.Close()
	})
}

func TestBatchWhoseClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		c := f.serve(t)
		ctx, cancel := context.WithCancel(t.Context())
		body, in := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://memory/v1/events", body)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(in, f.line(1)+f.line(2)[:30])
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		in.Close()
		synctest.Wait()
		if f.batches.Load() != 0 || f.waiting.Load() != 0 {
			t.Error("the batch goes on")
		}
		if n := len(f.delivered()); n != 1 {
			t.Errorf("%d deliveries: a line that was cut off is none", n)
		}
	})
}

// A client that does not read its answers is not waited for for ever, and is
// not read from without bound.
func TestBatchWhoseClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		body, in := io.Pipe()
		written := make(chan int)
		go func() {
			line, n := f.line(1), 0
			for {
				if _, err := io.WriteString(in, line); err != nil {
					break
				}
				n++
			}
			written <- n
		}()
		resp := post(t, f.serve(t), body)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if f.batches.Load() != 0 {
			t.Error("the batch goes on")
		}
		resp.Body.Close()
		in.CloseWithError(io.ErrClosedPipe)
		body.CloseWithError(io.ErrClosedPipe)
		if n := <-written; n > 50*maxChunk {
			t.Errorf("%d lines were taken", n)
		}
	})
}

// A connection goes on to work after a batch: no deadline stays behind.
func TestConnectionAfterABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		c := f.serve(t)
		for range 3 {
			resp := post(t, c, strings.NewReader(f.line(1)))
			if status, body := statusAndBody(resp); status != 200 || body != `{"status":202,"version":1}`+"\n" {
				t.Errorf("%d %q", status, body)
			}
			time.Sleep(80 * time.Second) // over Idle, under the transport's and server's own limits
		}
	})
}

func TestBatchLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{Batches: 1, Waiting: 1})
		c := f.serve(t)
		in, out := open(t, f, c)
		resp := post(t, c, strings.NewReader(f.line(2)))
		if status, _ := statusAndBody(resp); status != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a second batch: %d", status)
		}
		f.enter() // somebody else waits
		if _, err := io.WriteString(in, f.line(3)); err != nil {
			t.Fatal(err)
		}
		if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, `"status":503`) || !strings.Contains(line, `"retry_after":1`) {
			t.Errorf("%q, %v", line, err)
		}
		f.leave()
		if _, err := io.WriteString(in, f.line(4)); err != nil {
			t.Fatal(err)
		}
		if line, err := out.ReadString('\n'); err != nil || line != `{"status":202,"version":4}`+"\n" {
			t.Errorf("%q, %v", line, err)
		}
		in.Close()
		if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		if f.waiting.Load() != 0 {
			t.Errorf("%d wait", f.waiting.Load())
		}
	})
}

func TestCompressedBatch(t *testing.T) {
	f := newFixture(t, Limits{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://memory/v1/events", strings.NewReader(f.line(1)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "gzip")
	resp, err := f.serve(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 415 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// A line that is taken has one string and one version, each of one spelling.
func FuzzLine(f *testing.F) {
	fx := newFixture(f, Limits{})
	for _, s := range []string{fx.line(5), `{"version":5,"endpoint":"` + fx.token + `"}`, `{"endpoint":"x","version":5}`, `{}`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newChunk(fx.Publisher, KeyHash{})
		c.addText(b)
		for _, l := range c.lines {
			if l.err != nil {
				if s := reasonOf(l.err); s != reasonMalformed && s != reasonNotFound && s != reasonTooLarge {
					t.Fatalf("%q: %v", b, l.err)
				}
				continue
			}
			if l.event.Key != fx.key || l.event.Version > edition.MaxVersion || !strings.Contains(string(b), l.event.Version.String()) {
				t.Fatalf("%q: %v", b, l.event)
			}
		}
	})
}
