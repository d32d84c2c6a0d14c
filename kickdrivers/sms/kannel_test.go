package sms_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/kicktest"
	"github.com/edition-push/edition/kickdrivers/sms"
)

// smsbox behaves as Kannel's sendsms URL does.
type smsbox struct {
	mu      sync.Mutex
	got     []url.Values // the parameters, by the names that a query has
	answers map[string]func(http.ResponseWriter)
}

// params reads a request in either form.
func params(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodGet {
		return r.URL.Query(), nil
	}
	q := url.Values{}
	for name, values := range r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "x-kannel-"); ok {
			q[key] = values
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if header, err := hex.DecodeString(q.Get("udh")); err != nil {
		return nil, err
	} else if len(header) > 0 {
		q.Set("udh", string(header))
	}
	switch r.Header.Get("Content-Type") {
	case "text/plain; charset=UTF-8":
		q.Set("charset", "UTF-8")
	case "application/octet-stream":
	default:
		return nil, errors.New("content type")
	}
	q.Set("text", string(body))
	return q, nil
}

func (b *smsbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, err := params(r)
	switch {
	case r.URL.Path != "/cgi-bin/sendsms":
		http.Error(w, "Unknown request.", http.StatusNotFound)
	case err != nil:
		http.Error(w, "Unsupported content-type, rejected", http.StatusUnsupportedMediaType)
	case q.Get("username") != "edition" || q.Get("password") != "kannel-secret":
		http.Error(w, "Authorization failed for sendsms", http.StatusForbidden)
	case b.answers[q.Get("to")] != nil:
		b.answers[q.Get("to")](w)
	default:
		b.mu.Lock()
		b.got = append(b.got, q)
		b.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, "0: Accepted for delivery")
	}
}

func (b *smsbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

func (b *smsbox) sent() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.got)
}

func (b *smsbox) last() url.Values {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[len(b.got)-1]
}

// status answers with a status and a text.
func status(code int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, text, code) }
}

func kannel(t *testing.T, answers map[string]func(http.ResponseWriter)) (*smsbox, sms.Config) {
	b := &smsbox{answers: answers}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	c := sms.DefaultConfig()
	c.Via, c.Prefixes, c.Deny, c.Timeout = "kannel", []string{"+34"}, []string{"+34803"}, timeout
	c.Kannel.URL, c.Kannel.Username, c.Kannel.Password = server.URL+"/cgi-bin/sendsms", "edition", secret(t, "kannel-secret")
	return b, c
}

func TestSuiteKannel(t *testing.T) {
	for _, method := range []string{"post", "get"} {
		t.Run(method, func(t *testing.T) {
			kicktest.Run(t, func(t *testing.T) kicktest.Subject {
				stuck := make(chan struct{})
				b, c := kannel(t, map[string]func(http.ResponseWriter){
					"+34600200001": status(403, "Not routable. Do not try again."),
					"+34600200002": status(400, "Number(s) has/have been denied by white- and/or black-lists."),
					"+34600200003": status(500, "Sending failed."),
					"+34600200004": func(w http.ResponseWriter) { w.WriteHeader(202); io.WriteString(w, "3: Queued for later delivery") },
					"+34600300000": func(http.ResponseWriter) { <-stuck },
				})
				t.Cleanup(func() { close(stuck) })
				c.Kannel.Method = method
				return kicktest.Subject{
					Driver: open(t, c, driver.Env{}), Good: number, Malformed: malformed, Forbidden: forbidden,
					Alike:   []json.RawMessage{target("+34 600 100 000")},
					Arrived: b.count, Sent: b.sent, Secrets: []string{"kannel-secret"}, Stuck: target("+34600300000"),
					Outcomes: []kicktest.Outcome{
						{Name: "not routable", Target: target("+34600200001"), Want: edition.ErrForbidden},
						{Name: "denied", Target: target("+34600200002"), Want: edition.ErrForbidden},
						{Name: "sending failed", Target: target("+34600200003"), Want: kicktest.AnError},
						{Name: "queued", Target: target("+34600200004")},
					},
				}
			})
		})
	}
}

// TestKannelForms compares the parameters of each kind of message.
func TestKannelForms(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sms.Config)
		want   url.Values
	}{
		"text": {
			func(*sms.Config) {},
			url.Values{"coding": {"0"}, "text": {"Wake up AB12CD34"}, "charset": {"UTF-8"}, "validity": {"1440"}},
		},
		"UCS-2": {
			func(c *sms.Config) { c.Text, c.Validity = "起 & {{.Confirm}}", 0 },
			url.Values{"coding": {"2"}, "text": {"起 & AB12CD34"}, "charset": {"UTF-8"}},
		},
		"binary with all else": {
			func(c *sms.Config) {
				c.Form, c.Port, c.SourcePort, c.Hex = "binary", 4000, 1, "00ff0a"
				c.From, c.Priority, c.ProtocolID, c.Kannel.SMSC, c.Validity = "Edition", 1, 64, "mobile", time.Hour
			},
			url.Values{
				"coding": {"1"}, "text": {"\x00\xff\n AB12CD34"}, "udh": {"\x06\x05\x04\x0f\xa0\x00\x01"},
				"from": {"Edition"}, "priority": {"1"}, "pid": {"64"}, "smsc": {"mobile"}, "validity": {"60"},
			},
		},
	} {
		for _, method := range []string{"post", "get"} {
			t.Run(name+" "+method, func(t *testing.T) {
				b, conf := kannel(t, nil)
				c.change(&conf)
				conf.Kannel.Method = method
				d := open(t, conf, driver.Env{})
				if err := kick(t, d, "AB12CD34", target("+34600111222"))[0]; err != nil {
					t.Fatal(err)
				}
				got := b.last()
				for key, value := range map[string]string{"username": "edition", "password": "kannel-secret", "to": "+34600111222"} {
					if got.Get(key) != value {
						t.Errorf("%s is %q", key, got.Get(key))
					}
					got.Del(key)
				}
				if got.Encode() != c.want.Encode() {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		}
	}
}

// TestKannelProvider: answers that are about all kicks stop the batch, and no
// error tells the URL, which holds the password and the number.
func TestKannelProvider(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *sms.Config)
		answer func(http.ResponseWriter)
		want   error
		retry  time.Duration
	}{
		"wrong password": {
			change: func(t *testing.T, c *sms.Config) { c.Kannel.Password = secret(t, "wrong-secret") },
			want:   edition.ErrUnavailable,
		},
		"wrong path":         {change: func(_ *testing.T, c *sms.Config) { c.Kannel.URL += "x" }, want: edition.ErrUnavailable},
		"nobody there":       {change: func(_ *testing.T, c *sms.Config) { c.Kannel.URL = "http://127.0.0.1:1/sendsms" }, want: edition.ErrUnavailable},
		"temporal failure":   {answer: status(503, "Temporal failure, try again later."), want: edition.ErrUnavailable, retry: 7 * time.Second},
		"a proxy in between": {answer: status(502, ""), want: edition.ErrUnavailable},
		"elsewhere": {
			answer: func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(302) },
			want:   edition.ErrUnavailable,
		},
		"too many": {
			answer: func(w http.ResponseWriter) { w.Header().Set("Retry-After", "90"); w.WriteHeader(429) },
			want:   edition.ErrTooMany, retry: 90 * time.Second,
		},
	} {
		for _, method := range []string{"post", "get"} {
			t.Run(name+" "+method, func(t *testing.T) {
				b, conf := kannel(t, map[string]func(http.ResponseWriter){"+34600100000": c.answer})
				conf.RetryAfter, conf.Kannel.Method, conf.Kannel.ParallelRequests = 7*time.Second, method, 1
				if c.change != nil {
					c.change(t, &conf)
				}
				d := open(t, conf, driver.Env{})
				for _, err := range kick(t, d, "", numbers(10)...) {
					if !errors.Is(err, c.want) || errors.Is(err, edition.ErrUnavailable) != errors.Is(c.want, edition.ErrUnavailable) {
						t.Errorf("error %v, want %v", err, c.want)
					}
					if retry, ok := errors.AsType[*edition.RetryError](err); c.retry != 0 && (!ok || retry.After != c.retry) {
						t.Errorf("error %v says to come back after %v, want %v", err, retry, c.retry)
					}
					if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "60010000")) {
						t.Errorf("the error tells too much: %v", err)
					}
				}
				if b.count() != 0 {
					t.Errorf("%d messages arrived after the first had failed", b.count())
				}
			})
		}
	}
}
