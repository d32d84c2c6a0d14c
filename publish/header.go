package publish

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// maxTopic is the greatest length of a topic (RFC 8030 §5.4).
const maxTopic = 32

var (
	errTTL     = fmt.Errorf("%w: the header TTL must be there once, a number of seconds", edition.ErrMalformed)
	errUrgency = fmt.Errorf("%w: Urgency is very-low, low, normal or high", edition.ErrMalformed)
	errTopic   = fmt.Errorf("%w: Topic is 1 to %d characters of A-Z a-z 0-9 - _", edition.ErrMalformed, maxTopic)
	errReceipt = fmt.Errorf("%w: Link does not name a receipt that was made here", edition.ErrMalformed)
)

// ttlOf reads the header TTL (RFC 8030 §5.2), which must be there. Over
// edition.MaxBodyTTL it is that.
func ttlOf(h http.Header) (time.Duration, error) {
	values := h["Ttl"]
	if len(values) != 1 || values[0] == "" {
		return 0, errTTL
	}
	var seconds int64
	for _, c := range []byte(values[0]) {
		if c < '0' || c > '9' {
			return 0, errTTL
		}
		seconds = min(seconds*10+int64(c-'0'), int64(edition.MaxBodyTTL/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// urgencyOf reads the header Urgency (RFC 8030 §5.3); normal when there is none.
func urgencyOf(h http.Header) (edition.Urgency, error) {
	values := h["Urgency"]
	if len(values) == 0 {
		return edition.UrgencyNormal, nil
	}
	u, ok := edition.ParseUrgency(strings.ToLower(values[0]))
	if len(values) > 1 || values[0] == "" || !ok {
		return 0, errUrgency
	}
	return u, nil
}

// topicOf reads the header Topic (RFC 8030 §5.4); "" when there is none.
func topicOf(h http.Header) (string, error) {
	values := h["Topic"]
	if len(values) == 0 {
		return "", nil
	}
	topic := values[0]
	if len(values) > 1 || topic == "" || len(topic) > maxTopic {
		return "", errTopic
	}
	for _, c := range []byte(topic) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return "", errTopic
		}
	}
	return topic, nil
}

// params goes through what a header says in the form name=value, with names in
// lower case. Elements of lists (",") and their parameters (";") are not told
// apart: no name that is looked for here means different things in both places.
// A value may be a quoted-string (RFC 9110 §5.6.4).
func params(values []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, v := range values {
			for v != "" {
				var part string
				part, v = cutOutside(v, ",;")
				name, value, _ := strings.Cut(part, "=")
				if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
					continue
				}
				if !yield(name, unquote(strings.TrimSpace(value))) {
					return
				}
			}
		}
	}
}

// cutOutside cuts around the first of some separators that is not within
// quotes or, where it opens with one, within angle brackets.
func cutOutside(s, separators string) (before, after string) {
	quoted, bracket := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"' && !bracket:
			quoted = !quoted
		case c == '<' && !quoted:
			bracket = true
		case c == '>' && !quoted:
			bracket = false
		case !quoted && !bracket && strings.IndexByte(separators, c) >= 0:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func param(values []string, name string) string {
	for n, v := range params(values) {
		if n == name {
			return v
		}
	}
	return ""
}

// wantsReceipt reports whether a request prefers respond-async (RFC 7240 §4.1),
// by which it asks for a receipt (RFC 8030 §5.1).
func wantsReceipt(h http.Header) bool {
	for name := range params(h["Prefer"]) {
		if name == "respond-async" {
			return true
		}
	}
	return false
}

// receiptWait is how long a request for a receipt is held when it does not say.
const receiptWait = 30 * time.Second

// waitOf is how long a request may be held (RFC 7240 §4.3, wait=SECONDS), at
// most wire.MaxWait.
func waitOf(h http.Header) time.Duration {
	text := param(h["Prefer"], "wait")
	if text == "" {
		return receiptWait
	}
	var wait time.Duration
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return receiptWait
		}
		wait = min(wait*10+time.Duration(c-'0')*time.Second, wire.MaxWait)
	}
	return wait
}

const relReceipt = "urn:ietf:params:push:receipt"

// receiptLinks goes through the targets of a header Link (RFC 8288 §3) whose
// relation is that of receipts.
func receiptLinks(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range values {
			for v != "" {
				var link string
				link, v = cutOutside(v, ",")
				target, rest, ok := strings.Cut(strings.TrimSpace(link), ">")
				if !ok || target == "" || target[0] != '<' {
					continue
				}
				for rel := range strings.FieldsSeq(param([]string{rest}, "rel")) {
					if strings.EqualFold(rel, relReceipt) && !yield(target[1:]) {
						return
					}
				}
			}
		}
	}
}

// checkLink sees to it that a request names no receipts of others (RFC 8030
// §5.1). Each message here has a receipt of its own, whatever the request names.
func (p *Publisher) checkLink(h http.Header) error {
	for target := range receiptLinks(h["Link"]) {
		u, err := url.Parse(target)
		if err != nil {
			return errReceipt
		}
		i := strings.LastIndex(u.Path, wire.PathReceipt)
		if i < 0 {
			return errReceipt
		}
		if _, err := p.keys.openParcel(formatReceipt, u.Path[i+len(wire.PathReceipt):]); err != nil {
			return errReceipt
		}
	}
	return nil
}
