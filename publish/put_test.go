package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

const (
	typeForm = "application/x-www-form-urlencoded"
	typeText = "text/plain"
	typeObj  = "application/json"
)

func TestPutTakesEveryForm(t *testing.T) {
	for _, c := range []struct {
		contentType, body string
		want              edition.Version
	}{
		{typeForm, "version=5", 5},
		{"", "version=5", 5},
		{typeForm + "; charset=UTF-8", "version=5", 5},
		{"Application/X-WWW-Form-Urlencoded", "version=5", 5},
		{typeForm, "a=b&version=5&c", 5},
		{typeForm, "version=%35", 5},
		{typeForm, "ver%73ion=5&", 5},
		{typeForm, "Version=7&version=5", 5},
		{typeObj, `{"version":5}`, 5},
		{typeObj, " { \"version\" :\t5 }\r\n", 5},
		{typeObj + ";charset=utf-8", `{"version":5,"more":{"version":[6]}}`, 5},
		{typeObj, `{"Version":6,"version":5}`, 5},
		{typeObj, `{"\u0076ersion":5}`, 5},
		{typeText, "5", 5},
		{"text/plain; charset=us-ascii", "0", 0},
		{typeText, "9223372036854775807", math.MaxInt64},
		{typeObj, `{"version":9223372036854775807}`, math.MaxInt64},
		{typeForm, "version=9007199254740993", 1<<53 + 1},
		{typeForm, "pad=" + strings.Repeat("x", maxBody-14) + "&version=5", 5},
	} {
		f := newFixture(t, Limits{})
		status, body := f.put(c.contentType, c.body)
		want := fmt.Sprintf(`{"status":"stored","version":%d}`+"\n", c.want)
		if status != http.StatusAccepted || body != want {
			t.Errorf("%s, %.60q: %d %s", c.contentType, c.body, status, body)
			continue
		}
		if got := f.updates[0]; len(got) != 1 || got[0] != (edition.Event{Key: f.key, Version: c.want}) || f.hows[0].Make {
			t.Errorf("%s, %.60q: delivered %v, %+v", c.contentType, c.body, got, f.hows[0])
		}
	}
}

func TestPutOfNothingLetsTheServerMakeAVersion(t *testing.T) {
	for _, contentType := range []string{"", typeForm, typeObj, typeText} {
		f := newFixture(t, Limits{})
		status, body := f.put(contentType, "")
		if status != http.StatusAccepted || body != `{"status":"stored","version":1700000000000}`+"\n" || !f.hows[0].Make {
			t.Errorf("%q: %d %s", contentType, status, body)
		}
	}
	f := newFixture(t, Limits{})
	r := httptest.NewRequest(http.MethodPut, "/v1/e/"+f.token, http.NoBody)
	r.ContentLength, r.Body = -1, http.NoBody // chunked, and empty
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, r)
	if rec.Code != http.StatusAccepted || !f.hows[0].Make {
		t.Errorf("chunked: %d %s", rec.Code, rec.Body)
	}
}

func TestPutRefuses(t *testing.T) {
	for _, c := range []struct {
		contentType, body string
		want              int
	}{
		{typeForm, "version=-1", 400},
		{typeForm, "version=+5", 400},
		{typeForm, "version=%2B5", 400},
		{typeForm, "version=05", 400},
		{typeForm, "version= 5", 400},
		{typeForm, "version=1e3", 400},
		{typeForm, "version=5.0", 400},
		{typeForm, "version=NaN", 400},
		{typeForm, "version=9223372036854775808", 400},
		{typeForm, "version=18446744073709551616", 400},
		{typeForm, "version=", 400},
		{typeForm, "version", 400},
		{typeForm, "v=5", 400},
		{typeForm, "5", 400},
		{typeForm, "&", 400},
		{typeForm, "version=5&version=5", 400},
		{typeForm, "version=5&version", 400},
		{typeForm, "version=5\n", 400},
		{typeForm, "version=5;version=6", 400},
		{typeForm, "version=%zz", 400},
		{typeForm, "%zz=1&version=5", 400},
		{typeForm, `{"version":5}`, 400},
		{typeObj, `{"version":-1}`, 400},
		{typeObj, `{"version":+5}`, 400},
		{typeObj, `{"version":05}`, 400},
		{typeObj, `{"version":1e3}`, 400},
		{typeObj, `{"version":5.0}`, 400},
		{typeObj, `{"version":NaN}`, 400},
		{typeObj, `{"version":"5"}`, 400},
		{typeObj, `{"version":null}`, 400},
		{typeObj, `{"version":[5]}`, 400},
		{typeObj, `{"version":9223372036854775808}`, 400},
		{typeObj, `{"version":5,"version":5}`, 400},
		{typeObj, `{"version":5}x`, 400},
		{typeObj, `{"version":5}{}`, 400},
		{typeObj, `{"version":5`, 400},
		{typeObj, `{"version":5,}`, 400},
		{typeObj, `{}`, 400},
		{typeObj, `[{"version":5}]`, 400},
		{typeObj, `5`, 400},
		{typeObj, `null`, 400},
		{typeObj, ` `, 400},
		{typeObj, `{"Version":5}`, 400},
		{typeObj, strings.Repeat("[", 4096), 400},
		{typeObj, "\ufeff" + `{"version":5}`, 400},
		{typeText, "-1", 400},
		{typeText, "+5", 400},
		{typeText, "05", 400},
		{typeText, " 5", 400},
		{typeText, "5\n", 400},
		{typeText, "5 6", 400},
		{typeText, "0x5", 400},
		{typeText, "5\x00", 400},
		{typeText, "version=5", 400},
		{typeText, strings.Repeat("9", 4000), 400},
		{typeText, strings.Repeat("5", maxBody+1), 413},
		{typeForm, "version=5&x=" + strings.Repeat("x", 10<<20), 413},
		{"application/octet-stream", "5", 415},
		{"multipart/form-data; boundary=x", "--x--", 415},
		{"text/html", "5", 415},
		{"application/octet-stream", "", 415},
		{"text", "5", 415},
		{"text/plain;;=", "5", 415},
		{"application/json, text/plain", "5", 415},
	} {
		f := newFixture(t, Limits{})
		resp := f.request(http.MethodPut, "/v1/e/"+f.token, c.contentType, c.body)
		status, body := statusAndBody(resp)
		var p wire.Problem
		if err := json.Unmarshal([]byte(body), &p); status != c.want || err != nil || p.Status != c.want || p.Title == "" || p.Detail == "" {
			t.Errorf("%s, %.40q: %d %.200s, want %d", c.contentType, c.body, status, body, c.want)
		}
		if resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s, %.40q: header %v", c.contentType, c.body, resp.Header)
		}
		if len(f.updates) > 0 {
			t.Errorf("%s, %.40q: had an effect: %v", c.contentType, c.body, f.updates)
		}
	}
}

func TestPutRefusesWhatWouldSilentlyMeanSomethingElse(t *testing.T) {
	f := newFixture(t, Limits{})
	if status, body := statusAndBody(f.request(http.MethodPut, "/v1/e/"+f.token+"?utm=5", "", "version=5")); status != 202 {
		t.Errorf("another query: %d %s", status, body)
	}
	r := httptest.NewRequest(http.MethodPut, "/v1/e/"+f.token, strings.NewReader("version=5"))
	r.Header.Set("Content-Encoding", "gzip")
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, r)
	if rec.Code != 415 || len(f.updates) != 1 {
		t.Errorf("compressed: %d %s", rec.Code, rec.Body)
	}
}

// Neither a forged token nor one of another installation reaches the store,
// and both are answered alike.
func TestUnknownEndpoints(t *testing.T) {
	f := newFixture(t, Limits{})
	var first string
	sealed := f.keys.Seal(newKey())
	for _, token := range []string{sealed[:99] + flip(sealed[99]), ring(t, 2).Seal(newKey()), "", "x", f.token + "/", f.token[:50], strings.Repeat("A", 5000)} {
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			resp := f.request(method, "/v1/e/"+token, "", "version=5")
			status, body := statusAndBody(resp)
			if first == "" {
				first = body
			}
			if status != 404 || body != first {
				t.Errorf("%s %.30q: %d %s", method, token, status, body)
			}
			if token != "" && strings.Contains(body, token) {
				t.Errorf("%s: the answer shows the token", method)
			}
		}
	}
	if len(f.updates) > 0 {
		t.Errorf("delivered %v", f.updates)
	}
	for _, path := range []string{"/", "/v1/e", "/v1", "/v1/events/", "//v1/events"} {
		r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(""))
		r.URL.Path = path
		rec := httptest.NewRecorder()
		f.ServeHTTP(rec, r)
		if rec.Code != 404 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestPutAnswersAsTheReceiptSays(t *testing.T) {
	for _, c := range []struct {
		result     edition.Result
		status     int
		body       string
		retryAfter string
	}{
		{edition.Result{Outcome: edition.OutcomeStored, Version: 5}, 202, `{"status":"stored","version":5}`, ""},
		{edition.Result{Outcome: edition.OutcomeStored, Version: 9, Superseded: true}, 202, `{"status":"stored","version":9,"superseded":true}`, ""},
		{edition.Result{Outcome: edition.OutcomeDelivered, Version: 5}, 200, `{"status":"delivered","version":5}`, ""},
		{edition.Result{Outcome: edition.OutcomeGone}, 410, "", ""},
		{edition.Result{Outcome: edition.OutcomeRefused}, 410, "", ""},
		{edition.Result{Outcome: edition.OutcomeFailed, Err: fmt.Errorf("disk full: %w", edition.ErrUnavailable)}, 503, "", "5"},
		{edition.Result{Outcome: edition.OutcomeFailed, Err: edition.RetryAfter(edition.ErrUnavailable, time.Minute)}, 503, "", "60"},
		{edition.Result{Outcome: edition.OutcomeFailed, Err: fmt.Errorf("/data/x: %w", edition.ErrDisk)}, 503, "", "5"},
		{edition.Result{Outcome: edition.OutcomeFailed}, 503, "", "1"},
		{edition.Result{}, 503, "", "1"},
	} {
		f := newFixture(t, Limits{})
		f.answer = resolveAll(c.result)
		resp := f.request(http.MethodPut, "/v1/e/"+f.token, "", "version=5")
		status, body := statusAndBody(resp)
		if status != c.status || c.body != "" && body != c.body+"\n" || resp.Header.Get("Retry-After") != c.retryAfter {
			t.Errorf("%+v: %d %s, Retry-After %q", c.result, status, body, resp.Header.Get("Retry-After"))
		}
		if c.status < 300 && resp.Header.Get("Content-Type") != typeObj {
			t.Errorf("%+v: header %v", c.result, resp.Header)
		}
		if strings.Contains(body, "/data") {
			t.Errorf("%+v: shows a path: %s", c.result, body)
		}
	}
}

// Promise 1: no 2xx before the receipt is there.
func TestPutWaitsForItsReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{Wait: time.Minute})
		f.answer = func(_ edition.Update, r *edition.Receipt) {
			time.AfterFunc(50*time.Second, func() {
				r.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 5})
			})
		}
		start := time.Now()
		if status, body := f.put("", "version=5"); status != 202 || time.Since(start) != 50*time.Second {
			t.Errorf("%d %s after %v", status, body, time.Since(start))
		}
	})
}

func TestPutGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		f.answer = func(edition.Update, *edition.Receipt) {} // never
		start := time.Now()
		if status, body := f.put("", "version=5"); status != 503 || time.Since(start) < 30*time.Second || time.Since(start) > 40*time.Second || !strings.Contains(body, "not known to be kept") {
			t.Errorf("%d %s after %v", status, body, time.Since(start))
		}
		if n := f.answered(t, "put", "unknown"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

func TestPutStopsWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{})
		f.answer = func(edition.Update, *edition.Receipt) {}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/v1/e/"+f.token, strings.NewReader("version=5")).WithContext(ctx))
		if time.Since(start) != time.Second || f.answered(t, "put", "client_left") != 1 || f.waiting.Load() != 0 {
			t.Errorf("after %v", time.Since(start))
		}
	})
}

func TestOnlySoManyPutsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{Waiting: 3})
		var receipts []*edition.Receipt
		f.answer = func(_ edition.Update, r *edition.Receipt) { receipts = append(receipts, r) }
		done := make(chan int)
		for range 3 {
			go func() { status, _ := f.put("", "version=5"); done <- status }()
			synctest.Wait()
		}
		if status, body := f.put("", "version=5"); status != 503 || len(receipts) != 3 {
			t.Errorf("%d %s, %d delivered", status, body, len(receipts))
		}
		for _, r := range receipts {
			r.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 5})
			if status := <-done; status != 202 {
				t.Errorf("one that waited got %d", status)
			}
		}
		f.fake.answer = nil
		if status, _ := f.put("", "version=5"); status != 202 {
			t.Errorf("afterwards %d", status)
		}
	})
}

func TestLogsShowNoCapability(t *testing.T) {
	f := newFixture(t, Limits{})
	var out bytes.Buffer
	f.Publisher.log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.put("", "version=5")
	f.put("", "version=x")
	text := out.String()
	if !strings.Contains(text, f.key.UAID.Short()) || !strings.Contains(text, `"reason":"malformed"`) {
		t.Errorf("logged %s", text)
	}
	if strings.Contains(text, f.token) || strings.Contains(text, f.key.UAID.String()) || strings.Contains(text, f.key.AppID.String()) {
		t.Errorf("logged a capability: %s", text)
	}
}

// What the parser takes is a version in its one spelling, somewhere in the body.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"version=5", "a=b&version=7", `{"version":41}`, `{"a":[1],"version":0}`, "9223372036854775807", "%76ersion=1", "data=%41+x&version=3", "data=%ff"} {
		for form := range uint8(3) {
			f.Add(form, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		in := bytes.Clone(b)
		var s signal
		err := s.parseBody(form(kind%3), b)
		v := s.version
		if !bytes.Equal(in, b) {
			t.Fatal("the body was changed")
		}
		switch {
		case err != nil && !errors.Is(err, edition.ErrMalformed) && !errors.Is(err, edition.ErrTooLarge):
			t.Fatalf("%q: %v", b, err)
		case err != nil:
		case len(s.data) > edition.MaxBody || !utf8.Valid(s.data) || s.data != nil && !s.hasData:
			t.Fatalf("%q: data %q", b, s.data)
		case !s.known && !s.hasData:
			t.Fatalf("%q: says nothing", b)
		case v > edition.MaxVersion:
			t.Fatalf("%q: %d", b, v)
		case form(kind%3) == formJSON:
			var exact map[string]json.RawMessage
			if json.Unmarshal(b, &exact) != nil || string(exact["version"]) != v.String() {
				t.Fatalf("%q: %d", b, v)
			}
		case form(kind%3) == formText && string(b) != v.String():
			t.Fatalf("%q: %d", b, v)
		}
	})
}
