package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// silent is a token endpoint that says nothing.
type silent struct {
	asked chan struct{}
	over  atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (s *silent) RoundTrip(req *http.Request) (*http.Response, error) {
	close(s.asked)
	<-req.Context().Done()
	time.Sleep(time.Millisecond) // as if there were something to clear away
	s.over.Store(true)
	return nil, req.Context().Err()
}

// TestTokensEnd: with the driver, a request for a token is over, and has left
// no connection in use that nobody would close.
func TestTokensEnd(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, minKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	s := &silent{asked: make(chan struct{})}
	tokens := newTokens(account{ClientEmail: "a@b", PrivateKey: string(text), TokenURI: "https://token.example/"}, &http.Client{Transport: s}, time.Hour)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := tokens.get(t.Context(), ""); err == nil {
			t.Error("a token from nobody")
		}
	})
	<-s.asked
	tokens.end()
	if !s.over.Load() {
		t.Error("the request is still under way")
	}
	waiting.Wait()
	tokens.end() // with none
}
