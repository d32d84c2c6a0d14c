package sms

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
)

// kannel is the way to Kannel's sendsms URL (Kannel User's Guide, chapter "SMS
// gateway", "Using the HTTP interface to send SMS messages").
type kannel struct {
	// Fixed after construction.
	c        Config
	password string
	client   *http.Client
}

func newKannel(c Config) (*kannel, error) {
	password, err := c.Kannel.Password.Read()
	if err != nil {
		return nil, err
	}
	client, err := outbound.New(outbound.Options{TLS: c.Kannel.TLS, Timeout: c.Timeout, Conns: c.Kannel.ParallelRequests})
	if err != nil {
		return nil, err
	}
	return &kannel{c: c, password: string(password), client: client}, nil
}

// param is one parameter of sendsms: its name in a query and in a header.
type param struct{ query, header, value string }

// Values of "coding": Kannel turns text from the charset into the alphabet.
const (
	codingText   = 0
	codingOctets = 1
	codingUCS2   = 2
)

// params returns all but text and password, which must not be shown.
func (k *kannel) params(number string, m message) []param {
	all := []param{
		{"username", "X-Kannel-Username", k.c.Kannel.Username},
		{"to", "X-Kannel-To", number},
		{"coding", "X-Kannel-Coding", strconv.Itoa(codingOf(m))},
	}
	add := func(query, header, value string) {
		if value != "" && value != "0" {
			all = append(all, param{query, header, value})
		}
	}
	add("from", "X-Kannel-From", k.c.From)
	add("smsc", "X-Kannel-SMSC", k.c.Kannel.SMSC)
	add("validity", "X-Kannel-Validity", strconv.Itoa(int(k.c.Validity.Minutes())))
	add("pid", "X-Kannel-PID", strconv.Itoa(k.c.ProtocolID))
	add("priority", "X-Kannel-Priority", strconv.Itoa(k.c.Priority))
	return all
}

func codingOf(m message) int {
	switch m.coding {
	case smpp.CodingBinary:
		return codingOctets
	case smpp.CodingUCS2:
		return codingUCS2
	}
	return codingText
}

// body returns what is sent as the text, and its type.
func body(m message) (content, contentType string) {
	if m.coding == smpp.CodingBinary {
		return string(m.data), "application/octet-stream"
	}
	return m.text, "text/plain; charset=UTF-8"
}

func (k *kannel) request(ctx context.Context, number string, m message) (*http.Request, error) {
	content, contentType := body(m)
	if k.c.Kannel.Method == "get" {
		q := url.Values{"password": {k.password}, "text": {content}}
		if m.coding != smpp.CodingBinary {
			q.Set("charset", "UTF-8")
		}
		if m.header != nil {
			q.Set("udh", string(m.header))
		}
		for _, p := range k.params(number, m) {
			q.Set(p.query, p.value)
		}
		return http.NewRequestWithContext(ctx, http.MethodGet, k.c.Kannel.URL+"?"+q.Encode(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.c.Kannel.URL, strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Kannel-Password", k.password)
	if m.header != nil {
		req.Header.Set("X-Kannel-UDH", hex.EncodeToString(m.header))
	}
	for _, p := range k.params(number, m) {
		req.Header.Set(p.header, p.value)
	}
	return req, nil
}

// maxAnswer bounds what is read of Kannel's answer, a line of text.
const maxAnswer = 1 << 10

func (k *kannel) send(ctx context.Context, number string, m message) error {
	req, err := k.request(ctx, number, m)
	if err != nil {
		return errors.New("the request cannot be made") // err would carry the URL
	}
	a, err := outbound.Do(k.client, req, maxAnswer)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: kannel: %w", edition.ErrUnavailable, err)
	}
	return k.outcome(a)
}

// outcome turns Kannel's answer into the errors of driver.Driver. README.md
// has the table. What Kannel says may repeat the number: it is not passed on.
func (k *kannel) outcome(a *outbound.Answer) error {
	after := outbound.RetryAfter(a.Header)
	if after == 0 {
		after = k.c.RetryAfter
	}
	no := fmt.Errorf("kannel: status %d", a.Status)
	switch {
	case a.Status == http.StatusAccepted || a.Status == http.StatusOK:
		return nil
	case a.Status == http.StatusForbidden && !strings.Contains(string(a.Body), "Authorization failed"):
		return fmt.Errorf("%w: %w: not routable", edition.ErrForbidden, no)
	case a.Status == http.StatusTooManyRequests:
		return throttledError{edition.RetryAfter(fmt.Errorf("%w: %w", edition.ErrTooMany, no), after)}
	case a.Status == http.StatusInternalServerError:
		return no // "Sending failed.": that message
	case a.Status == http.StatusServiceUnavailable:
		return edition.RetryAfter(fmt.Errorf("%w: %w", edition.ErrUnavailable, no), after)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusUnsupportedMediaType:
		return fmt.Errorf("%w: %w", edition.ErrForbidden, no)
	}
	return fmt.Errorf("%w: %w", edition.ErrUnavailable, no) // wrong name, wrong URL, a proxy in between
}

func (k *kannel) show(number string, m message) string {
	content, contentType := body(m)
	if m.coding == smpp.CodingBinary {
		content = hex.EncodeToString(m.data)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n", strings.ToUpper(k.c.Kannel.Method), k.c.Kannel.URL)
	line := func(query, header, value string) {
		name := header
		if k.c.Kannel.Method == "get" {
			name = query
		}
		fmt.Fprintf(&out, "%s: %s\n", name, value)
	}
	for _, p := range k.params(number, m) {
		line(p.query, p.header, p.value)
	}
	line("password", "X-Kannel-Password", "<secret>")
	if m.header != nil {
		line("udh", "X-Kannel-UDH", hex.EncodeToString(m.header))
	}
	line("charset", "Content-Type", contentType)
	fmt.Fprintf(&out, "text: %s\n", content)
	if m.code != "" {
		fmt.Fprintf(&out, "code %s\n", m.code)
	}
	return out.String()
}

func (k *kannel) close() { k.client.CloseIdleConnections() }
