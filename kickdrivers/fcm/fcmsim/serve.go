package fcmsim

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxBody = 16 << 10
	// maxData is the greatest size of a message's data, keys and values.
	maxData = 4096
	maxTTL  = 28 * 24 * time.Hour
)

var validToken = regexp.MustCompile(`^[A-Za-z0-9_:-]{20,}$`)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathToken, s.giveToken)
	mux.HandleFunc("POST /v1/projects/{project}/messages:send", s.send)
	return mux
}

// claims of the assertion that asks for an access token.
type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

// giveToken exchanges an assertion for an access token (RFC 7523).
func (s *Server) giveToken(w http.ResponseWriter, r *http.Request) {
	if s.options.TokenAnswer != nil {
		if a := s.options.TokenAnswer(); a.deviates(w, r) {
			if a.Status != 0 {
				oauthError(w, a.Status, a.Code)
			}
			return
		}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		oauthError(w, 400, "unsupported_grant_type")
		return
	}
	var c claims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(account), jwt.WithAudience(s.URL()+pathToken),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(5*time.Minute),
	)
	_, err := parser.ParseWithClaims(r.PostFormValue("assertion"), &c, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != keyID {
			return nil, fmt.Errorf("no key has the id %.40q", t.Header["kid"])
		}
		return s.options.Key.Public(), nil
	})
	switch {
	case err != nil || c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > time.Hour:
		s.log.Info("assertion refused", "err", err)
		oauthError(w, 400, "invalid_grant")
		return
	case c.Scope != scope:
		oauthError(w, 400, "invalid_scope")
		return
	}
	token := "ya29." + rand.Text()
	s.mu.Lock()
	s.tokens[token] = time.Now().Add(s.options.TokenLife)
	s.mu.Unlock()
	writeJSON(w, 200, map[string]any{"access_token": token, "expires_in": int(s.options.TokenLife.Seconds()), "token_type": "Bearer"})
}

func oauthError(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": "as the simulator was told, or the assertion is not in order"})
}

// send takes a message.
func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	until, known := s.tokens[bearer]
	s.mu.Unlock()
	switch {
	case !known || time.Now().After(until):
		s.refuse(w, failure{code: 401, status: "UNAUTHENTICATED", message: "Request had invalid authentication credentials."})
		return
	case r.PathValue("project") != s.options.Project:
		s.refuse(w, failure{code: 403, status: "PERMISSION_DENIED", message: "Permission denied on the project, or it does not exist."})
		return
	}
	k, bad := read(http.MaxBytesReader(w, r.Body, maxBody))
	if bad.code != 0 {
		s.refuse(w, bad)
		return
	}
	if s.options.Answer != nil {
		if a := s.options.Answer(k); a.deviates(w, r) {
			if a.Status != 0 {
				s.refuse(w, failure{code: a.Status, status: statusOf(a.Status), message: "As the simulator was told.", fcm: a.Code, field: a.Field})
			}
			return
		}
	}
	if s.options.OnKick != nil {
		s.options.OnKick(k)
	}
	writeJSON(w, 200, map[string]string{"name": "projects/" + s.options.Project + "/messages/0:" + strconv.FormatInt(time.Now().UnixMicro(), 10)})
}

// deviates reports whether the request is not to be accepted, and does what
// needs no body.
func (a Answer) deviates(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case a.Hang:
		<-r.Context().Done()
	case a.Drop:
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.Close()
		}
	case a.Status == 0 || a.Status == http.StatusOK:
		return false
	}
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.RetryAfter.Seconds())))
	}
	return true
}

// read decodes a message as strictly as Google does.
func read(body io.Reader) (Kick, failure) {
	b, err := io.ReadAll(body)
	if err != nil {
		return Kick{}, invalid("", "The request cannot be read.")
	}
	var q struct {
		ValidateOnly bool `json:"validate_only"`
		Message      struct {
			Token   string            `json:"token"`
			Data    map[string]string `json:"data"`
			Android struct {
				Priority    string `json:"priority"`
				TTL         string `json:"ttl"`
				CollapseKey string `json:"collapse_key"`
			} `json:"android"`
		} `json:"message"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return Kick{}, failure{code: 400, status: "INVALID_ARGUMENT", message: "Invalid JSON payload received.", field: "message"}
	}
	m := q.Message
	k := Kick{Token: m.Token, Data: m.Data, Priority: strings.ToUpper(m.Android.Priority), CollapseKey: m.Android.CollapseKey, Body: b}
	size := 0
	for key, value := range m.Data {
		size += len(key) + len(value)
		if key == "from" || key == "message_type" || strings.HasPrefix(key, "gcm") || strings.HasPrefix(key, "google") {
			return k, invalid("message.data", "Invalid data payload key.")
		}
	}
	seconds, unit := strings.CutSuffix(m.Android.TTL, "s")
	ttl, err := strconv.ParseFloat(seconds, 64)
	switch k.TTL = time.Duration(ttl * float64(time.Second)); {
	case m.Token == "":
		return k, invalid("message", "Recipient of the message is not set.")
	case !validToken.MatchString(m.Token):
		return k, invalid("", "The registration token is not a valid FCM registration token")
	case size > maxData:
		return k, invalid("message.data", "Android message is too big")
	case m.Android.TTL != "" && (err != nil || !unit || k.TTL < 0 || k.TTL > maxTTL):
		return k, invalid("message.android.ttl", "Invalid ttl")
	case k.Priority != "" && k.Priority != "NORMAL" && k.Priority != "HIGH":
		return k, invalid("message.android.priority", "Invalid value")
	}
	return k, failure{}
}

// failure is an answer that is not 200.
type failure struct {
	code            int
	status, message string
	fcm             string // error code of FCM; empty: none
	field           string // that is wrong; empty: none is told
}

func invalid(field, message string) failure {
	return failure{code: 400, status: "INVALID_ARGUMENT", message: message, fcm: "INVALID_ARGUMENT", field: field}
}

// statusOf is the name that Google's services have for a status.
func statusOf(code int) string {
	switch code {
	case 400:
		return "INVALID_ARGUMENT"
	case 401:
		return "UNAUTHENTICATED"
	case 403:
		return "PERMISSION_DENIED"
	case 404:
		return "NOT_FOUND"
	case 429:
		return "RESOURCE_EXHAUSTED"
	case 500:
		return "INTERNAL"
	case 503:
		return "UNAVAILABLE"
	}
	return "UNKNOWN"
}

// refuse writes the body that Google's services have for errors
// (google.rpc.Status).
func (s *Server) refuse(w http.ResponseWriter, f failure) {
	s.log.Info("message refused", "status", f.code, "code", f.fcm, "field", f.field)
	var details []any
	if f.fcm != "" {
		details = append(details, map[string]string{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": f.fcm})
	}
	if f.field != "" {
		details = append(details, map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []any{map[string]string{"field": f.field, "description": f.message}},
		})
	}
	writeJSON(w, f.code, map[string]any{"error": map[string]any{
		"code": f.code, "message": f.message, "status": f.status, "details": details,
	}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // of strings and numbers
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	w.Write(b) //nolint:errcheck // the sender may be gone
}
