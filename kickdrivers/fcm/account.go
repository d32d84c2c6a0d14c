package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/outbound"
)

// account is what is used of a service account's key file.
type account struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"` // PEM
	ClientEmail  string `json:"client_email"`
	TokenURI     string `json:"token_uri"`
}

const (
	// defaultTokenURI is where access tokens come from when the account does
	// not say.
	defaultTokenURI = "https://oauth2.googleapis.com/token"
	scope           = "https://www.googleapis.com/auth/firebase.messaging"
	// minKey is the size of the smallest key that is taken, in bits.
	minKey = 2048
)

// readAccount reads the key file. Its errors tell nothing of what is in it.
func readAccount(s driver.Secret) (account, error) {
	var a account
	b, err := s.Read()
	if err != nil {
		return a, err
	}
	if json.Unmarshal(b, &a) != nil || a.Type != "service_account" {
		return a, errors.New("is not the JSON key file of a service account")
	}
	if a.ClientEmail == "" {
		return a, errors.New("has no client_email")
	}
	if a.TokenURI == "" {
		a.TokenURI = defaultTokenURI
	}
	if u, err := url.Parse(a.TokenURI); err != nil || u.Scheme != "https" || u.Host == "" {
		return a, errors.New("has a token_uri that is not an https address")
	}
	return a, checkKey(a.PrivateKey)
}

// checkKey finds a key that cannot sign before it is to.
func checkKey(text string) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("has no private_key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("has a private_key that cannot be read")
		}
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return errors.New("has a private_key that is not RSA")
	}
	if key.N.BitLen() < minKey {
		return fmt.Errorf("has a private_key of %d bits, fewer than %d", key.N.BitLen(), minKey)
	}
	if err := key.Validate(); err != nil {
		return fmt.Errorf("has a private_key that cannot sign: %w", err)
	}
	return nil
}

// tokens keeps one access token and exchanges it in time. Whoever needs a new
// one waits for the same request.
type tokens struct {
	// Fixed after construction.
	config  *jwt.Config
	client  *http.Client
	timeout time.Duration
	closed  context.Context // ends with the driver
	close   context.CancelFunc

	mu sync.Mutex
	// Guarded by mu.
	now     *oauth2.Token
	pending *fetch
}

// fetch is a request for a token. Its result is there when done is closed.
type fetch struct {
	done  chan struct{}
	token *oauth2.Token
	err   error
}

// spare is how long before its end a token is exchanged.
const spare = time.Minute

func newTokens(a account, client *http.Client, timeout time.Duration) *tokens {
	t := &tokens{
		config: &jwt.Config{
			Email:        a.ClientEmail,
			PrivateKey:   []byte(a.PrivateKey),
			PrivateKeyID: a.PrivateKeyID,
			Scopes:       []string{scope},
			TokenURL:     a.TokenURI,
		},
		client: client, timeout: timeout,
	}
	t.closed, t.close = context.WithCancel(context.Background())
	return t
}

// get returns an access token that is not the one refused.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	if now := t.now; now != nil && now.AccessToken != refused && (now.Expiry.IsZero() || time.Until(now.Expiry) > spare) {
		t.mu.Unlock()
		return now.AccessToken, nil
	}
	f := t.pending
	if f == nil {
		f = &fetch{done: make(chan struct{})}
		t.pending = f
		go t.fetch(f)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if f.err != nil {
		return "", f.err
	}
	return f.token.AccessToken, nil
}

func (t *tokens) fetch(f *fetch) {
	ctx, cancel := context.WithTimeoutCause(t.closed, t.timeout, errNoAnswer)
	defer cancel()
	// The library gives its request no context; the client does.
	bound := &http.Client{Transport: within{ctx, t.client.Transport}, CheckRedirect: t.client.CheckRedirect}
	f.token, f.err = t.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, bound)).Token()
	switch {
	case ctx.Err() != nil:
		f.err = context.Cause(ctx)
	case f.err == nil && f.token.AccessToken == "":
		f.err = errors.New("an answer without access_token")
	case f.err != nil:
		f.err = tokenError(f.err)
	}
	t.mu.Lock()
	if f.err == nil {
		t.now = f.token
	}
	t.pending = nil
	t.mu.Unlock()
	close(f.done)
}

// within makes requests end with a context.
type within struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.next.RoundTrip(req.WithContext(w.ctx))
}

// end ends a request for a token that is under way, and returns when it has
// let go of its connection. Nobody calls get by then.
func (t *tokens) end() {
	t.close()
	t.mu.Lock()
	f := t.pending
	t.mu.Unlock()
	if f != nil {
		<-f.done
	}
}

// tokenError says what the token endpoint said, without what was sent to it.
func tokenError(err error) error {
	r, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || r.Response == nil {
		return err
	}
	var said struct {
		Error string `json:"error"` // RFC 6749, section 5.2
	}
	text := fmt.Sprintf("answered %d", r.Response.StatusCode)
	if json.Unmarshal(r.Body, &said) == nil && isWord(said.Error) {
		text += ", " + said.Error
	}
	if after := outbound.RetryAfter(r.Response.Header); after > 0 {
		return edition.RetryAfter(errors.New(text), after)
	}
	return errors.New(text)
}
