package webpushsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxBody is what a push service has to take at least, and this one at most
// (RFC 8030, section 7.2).
const maxBody = 4096

// maxTokenLife is how far away the end of a token may be (RFC 8292, section 2).
const maxTokenLife = 24 * time.Hour

var (
	validTopic = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	urgencies  = map[string]bool{"very-low": true, "low": true, "normal": true, "high": true}
)

// examine checks a push as the push service and as the user agent.
func (s *Server) examine(r *http.Request) (Kick, *refusal) {
	k := Kick{Endpoint: s.URL() + r.URL.Path, Urgency: "normal"}
	a, refused := s.find(r.PathValue("id"))
	if refused != nil {
		return k, refused
	}
	if k.Subject, refused = s.vapid(r.Header); refused != nil {
		return k, refused
	}
	var err error
	if k.TTL, err = strconv.Atoi(r.Header.Get("TTL")); err != nil || k.TTL < 0 {
		return k, refuse(http.StatusBadRequest, "no TTL, or one that is not a number of seconds")
	}
	if u := r.Header.Values("Urgency"); len(u) > 0 {
		if k.Urgency = u[0]; len(u) > 1 || !urgencies[k.Urgency] {
			return k, refuse(http.StatusBadRequest, "no such urgency: %.20q", u)
		}
	}
	if t := r.Header.Values("Topic"); len(t) > 0 {
		if k.Topic = t[0]; len(t) > 1 || !validTopic.MatchString(k.Topic) {
			return k, refuse(http.StatusBadRequest, "topic %.40q is not 1 to 32 of the base64url alphabet", t)
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return k, refuse(http.StatusBadRequest, "the message broke off")
	case len(body) > maxBody:
		return k, refuse(http.StatusRequestEntityTooLarge, "the message is larger than %d bytes", maxBody)
	case len(body) == 0:
		return k, nil
	case r.Header.Get("Content-Encoding") != "aes128gcm":
		return k, refuse(http.StatusUnsupportedMediaType, "the message is not encrypted with aes128gcm")
	}
	if k.Data, err = open(body, a.private, a.auth); err != nil {
		return k, refuse(http.StatusBadRequest, "the message cannot be decrypted: %v", err)
	}
	return k, nil
}

// vapid checks who sends, and returns whom the token names.
func (s *Server) vapid(h http.Header) (subject string, refused *refusal) {
	params, ok := strings.CutPrefix(h.Get("Authorization"), "vapid ")
	if !ok {
		return "", refuse(http.StatusUnauthorized, "no VAPID authorization")
	}
	var signed, public string
	for p := range strings.SplitSeq(params, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(p), "="); name {
		case "t":
			signed = value
		case "k":
			public = value
		}
	}
	if s.o.VAPIDKey != "" && public != s.o.VAPIDKey {
		return "", refuse(http.StatusForbidden, "the subscription is for another VAPID key")
	}
	raw, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil {
		return "", refuse(http.StatusUnauthorized, "k is not base64url")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return "", refuse(http.StatusUnauthorized, "k is not a point of P-256")
	}
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(signed, &claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(s.URL()), jwt.WithExpirationRequired())
	switch {
	case err != nil:
		return "", refuse(http.StatusUnauthorized, "the VAPID token: %v", err)
	case claims.ExpiresAt.After(time.Now().Add(maxTokenLife)):
		return "", refuse(http.StatusUnauthorized, "the VAPID token ends in more than 24 hours")
	case !strings.HasPrefix(claims.Subject, "mailto:") && !strings.HasPrefix(claims.Subject, "https:"):
		return "", refuse(http.StatusUnauthorized, "the subject of the VAPID token is no mailto: or https:")
	}
	return claims.Subject, nil
}
