package apnssim

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxPayload    = 4096
	maxCollapseID = 64
	// tokenAge is how long a provider token is valid.
	tokenAge = time.Hour
	// tokenSkew is by how much a clock may be fast.
	tokenSkew = 5 * time.Minute
)

var (
	validToken = regexp.MustCompile(`^([0-9a-fA-F]{2}){32,100}$`)
	validID    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	pushTypes  = []string{"alert", "background", "complication", "controls", "fileprovider", "liveactivity", "location", "mdm", "pushtotalk", "voip", "widgets"}
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k, bad := s.read(r)
	w.Header().Set("apns-id", k.ID)
	if bad.Status != 0 {
		s.log.Info("push refused", "status", bad.Status, "reason", bad.Reason)
		bad.write(w)
		return
	}
	var a Answer
	if s.options.Answer != nil {
		a = s.options.Answer(k)
	}
	switch {
	case a.Hang:
		<-r.Context().Done()
		return
	case a.Drop:
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.Close()
		}
		return
	}
	if (a.Status == 0 || a.Status == http.StatusOK) && s.options.OnKick != nil {
		s.options.OnKick(k)
	}
	a.write(w)
}

func (a Answer) write(w http.ResponseWriter) {
	if a.Goodbye {
		w.Header().Set("Connection", "close") // makes net/http send GOAWAY
	}
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.RetryAfter.Seconds())))
	}
	if a.Status == 0 || a.Status == http.StatusOK {
		return
	}
	body := map[string]any{"reason": a.Reason}
	if !a.Timestamp.IsZero() {
		body["timestamp"] = a.Timestamp.UnixMilli()
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // of strings and numbers
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	w.Write(b) //nolint:errcheck // the sender may be gone
}

// read checks a request in the order in which Apple seems to. The answer has a
// status if something is wrong.
func (s *Server) read(r *http.Request) (Kick, Answer) {
	k := Kick{ID: r.Header.Get("apns-id")}
	if k.ID == "" {
		k.ID = newID()
	} else if !validID.MatchString(k.ID) {
		k.ID = newID()
		return k, Answer{Status: 400, Reason: "BadMessageId"}
	}
	token, inPath := strings.CutPrefix(r.URL.Path, "/3/device/")
	switch {
	case r.Method != http.MethodPost:
		return k, Answer{Status: 405, Reason: "MethodNotAllowed"}
	case !inPath || strings.Contains(token, "/"):
		return k, Answer{Status: 404, Reason: "BadPath"}
	case token == "":
		return k, Answer{Status: 400, Reason: "MissingDeviceToken"}
	}
	if reason := s.prove(r); reason != "" {
		return k, Answer{Status: 403, Reason: reason}
	}
	k.Token = token
	if reason := k.readHeader(r.Header, s.options.Topics); reason != "" {
		return k, Answer{Status: 400, Reason: reason}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	switch {
	case len(body) > maxPayload:
		return k, Answer{Status: 413, Reason: "PayloadTooLarge"}
	case err != nil || len(body) == 0 || !json.Valid(body):
		return k, Answer{Status: 400, Reason: "PayloadEmpty"}
	}
	k.Body = body
	return k, Answer{}
}

// readHeader fills in what the header says, or returns the reason why it is
// wrong.
func (k *Kick) readHeader(h http.Header, topics []string) (reason string) {
	for name, values := range h {
		if strings.HasPrefix(name, "Apns-") && len(values) > 1 {
			return "DuplicateHeaders"
		}
	}
	k.Topic, k.PushType, k.CollapseID = h.Get("apns-topic"), h.Get("apns-push-type"), h.Get("apns-collapse-id")
	switch {
	case k.Topic == "":
		return "MissingTopic"
	case !slices.Contains(topics, k.Topic):
		return "TopicDisallowed"
	case !validToken.MatchString(k.Token):
		return "BadDeviceToken"
	case !slices.Contains(pushTypes, k.PushType):
		return "InvalidPushType"
	case len(k.CollapseID) > maxCollapseID:
		return "BadCollapseId"
	}
	k.Priority = 10
	if p := h.Get("apns-priority"); p != "" {
		var err error
		if k.Priority, err = strconv.Atoi(p); err != nil || !slices.Contains([]int{1, 5, 10}, k.Priority) {
			return "BadPriority"
		}
	}
	if k.PushType == "background" && k.Priority == 10 {
		return "BadPriority"
	}
	if e := h.Get("apns-expiration"); e != "" && e != "0" {
		at, err := strconv.ParseInt(e, 10, 64)
		if err != nil || at < 0 {
			return "BadExpirationDate"
		}
		k.Expiration = time.Unix(at, 0)
	}
	return ""
}

// prove returns the reason why the sender is not who may push, or nothing: a
// push certificate of this server, or a provider token signed with its key.
func (s *Server) prove(r *http.Request) (reason string) {
	if certs := r.TLS.PeerCertificates; len(certs) > 0 {
		_, err := certs[0].Verify(x509.VerifyOptions{Roots: s.secrets.authority.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			return "BadCertificate"
		}
		return ""
	}
	scheme, bearer, _ := strings.Cut(r.Header.Get("authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || bearer == "" {
		return "MissingProviderToken"
	}
	s.mu.Lock()
	made, known := s.bearers[bearer]
	s.mu.Unlock()
	if !known {
		var err error
		if made, err = s.verify(bearer); err != nil {
			s.log.Info("provider token refused", "err", err)
			return "InvalidProviderToken"
		}
		s.mu.Lock()
		s.bearers[bearer] = made
		s.mu.Unlock()
	}
	if age := time.Since(made); age > tokenAge || age < -tokenSkew {
		return "ExpiredProviderToken"
	}
	return ""
}

// verify checks a provider token (JSON Web Token, RFC 7519) and returns when it
// was made.
func (s *Server) verify(bearer string) (time.Time, error) {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(TeamID))
	_, err := parser.ParseWithClaims(bearer, &claims, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != KeyID {
			return nil, fmt.Errorf("no key has the id %.40q", t.Header["kid"])
		}
		return s.secrets.signer.Public(), nil
	})
	if err != nil {
		return time.Time{}, err
	}
	if claims.IssuedAt == nil {
		return time.Time{}, errors.New("no iat")
	}
	return claims.IssuedAt.Time, nil
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
