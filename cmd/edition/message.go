package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/webpush"
)

// shownBytes bounds what is shown of bytes that are no text.
const shownBytes = 48

// carried describes a body on one line: what it is, and its text where it can
// be read, else how it begins in base64.
func carried(b *edition.Body) string {
	size, coding := "nothing", ""
	if n := len(b.Data); n > 0 {
		size, coding = plural(n, "byte"), ", not encrypted"
	}
	if b.Encoding != "" {
		coding = ", " + word(b.Encoding)
	}
	line := fmt.Sprintf("carries %s%s, urgency %s, ttl %v", size, coding, b.Urgency, b.TTL)
	switch {
	case len(b.Data) == 0:
		return line
	case b.Encoding == "" && isText(b.Data):
		return line + ": " + string(b.Data)
	}
	head, rest := b.Data, ""
	if len(head) > shownBytes {
		head, rest = head[:shownBytes], fmt.Sprintf("… (the first %d)", shownBytes)
	}
	return line + ": base64 " + base64.StdEncoding.EncodeToString(head) + rest
}

// word is what a stranger calls a coding, as far as it may go to a terminal.
func word(s string) string {
	if len(s) > 20 || !isText([]byte(s)) {
		return "an unknown coding"
	}
	return s
}

// isText reports whether bytes are a line that does a terminal no harm.
func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// messageFlags are a message of Web Push, as `edition put` sends it.
type messageFlags struct {
	text, data            string
	ttl                   time.Duration
	urgency, topic        string
	p256dh, auth          string
	isMessage, isWithData bool
}

func addMessageFlags(cmd *cobra.Command) *messageFlags {
	f := new(messageFlags)
	s := cmd.Flags()
	s.StringVar(&f.data, "data", "", "`text` that goes along with the version, not encrypted")
	s.StringVar(&f.text, "message", "", "send this `text` as a message of Web Push, encrypted; empty: a message without a body")
	s.DurationVar(&f.ttl, "ttl", time.Hour, "how long a message is kept for a device that is not there; 0: not at all")
	s.StringVar(&f.urgency, "urgency", "normal", "`word`: very-low, low, normal or high")
	s.StringVar(&f.topic, "topic", "", "the message takes the place of one with this `topic` that waits")
	s.StringVar(&f.p256dh, "p256dh", "", "public `key` of the app's subscription, base64url; with --auth")
	s.StringVar(&f.auth, "auth", "", "authentication `secret` of the app's subscription, base64url")
	return f
}

// check says which flags do not go together.
func (f *messageFlags) check(cmd *cobra.Command, args []string) error {
	f.isMessage, f.isWithData = cmd.Flags().Changed("message"), cmd.Flags().Changed("data")
	if !f.isMessage {
		for _, flag := range []string{"ttl", "urgency", "topic", "p256dh", "auth"} {
			if cmd.Flags().Changed(flag) {
				return fmt.Errorf("%w: --%s belongs to --message TEXT, which is missing", edition.ErrUsage, flag)
			}
		}
		return nil
	}
	if f.isWithData {
		return fmt.Errorf("%w: --data goes with a version, not with --message", edition.ErrUsage)
	}
	if (f.p256dh == "") != (f.auth == "") {
		return fmt.Errorf("%w: --p256dh and --auth belong together", edition.ErrUsage)
	}
	if len(args) == 2 {
		return fmt.Errorf("%w: a message has no VERSION: the server makes one", edition.ErrUsage)
	}
	if _, ok := edition.ParseUrgency(f.urgency); !ok || f.urgency == "" {
		return fmt.Errorf("%w: --urgency %.20q is not very-low, low, normal or high", edition.ErrUsage, f.urgency)
	}
	if f.ttl < 0 {
		return fmt.Errorf("%w: --ttl %v is negative", edition.ErrUsage, f.ttl)
	}
	return nil
}

// post sends the message (RFC 8030 §5) and returns what the server answered.
func (f *messageFlags) post(ctx context.Context, endpoint string) (string, error) {
	body, err := f.encrypted()
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("TTL", strconv.FormatInt(int64((f.ttl+time.Second-1)/time.Second), 10))
	req.Header.Set("Urgency", f.urgency)
	if f.topic != "" {
		req.Header.Set("Topic", f.topic)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Encoding", "aes128gcm")
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := send(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer := "sent, " + plural(len(body), "byte")
	if ttl, err := strconv.ParseInt(resp.Header.Get("TTL"), 10, 32); err == nil {
		answer += fmt.Sprintf(", ttl %v", time.Duration(ttl)*time.Second)
	}
	if at := resp.Header.Get("Location"); at != "" && !strings.ContainsFunc(at, unicode.IsControl) {
		answer += "\nto withdraw it: curl -X DELETE " + at
	}
	return answer, nil
}

// encrypted returns the text as Web Push carries it (RFC 8291), for the
// subscription, or where there is none for a key that is forgotten at once.
func (f *messageFlags) encrypted() ([]byte, error) {
	if f.text == "" {
		return nil, nil
	}
	key, auth, err := f.subscription()
	if err != nil {
		return nil, err
	}
	body, err := webpush.Encrypt([]byte(f.text), key, auth)
	if err == nil && len(body) > edition.MaxBody {
		err = fmt.Errorf("%w: a message has at most %d bytes of text", edition.ErrUsage, edition.MaxBody-(len(body)-len(f.text)))
	}
	return body, err
}

// authSize is that of a subscription's secret, in bytes (RFC 8291 §3.2).
const authSize = 16

func (f *messageFlags) subscription() (key *ecdh.PublicKey, auth []byte, err error) {
	if f.p256dh == "" {
		nobody, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		auth = make([]byte, authSize)
		rand.Read(auth) // never fails
		return nobody.PublicKey(), auth, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(f.p256dh, "="))
	if err == nil {
		key, err = ecdh.P256().NewPublicKey(raw)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: --p256dh is not a point on P-256 in base64url", edition.ErrUsage)
	}
	auth, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(f.auth, "="))
	if err != nil || len(auth) != authSize {
		return nil, nil, fmt.Errorf("%w: --auth is not %d bytes in base64url", edition.ErrUsage, authSize)
	}
	return key, auth, nil
}
