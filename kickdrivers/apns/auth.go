package apns

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sideshow/apns2/token"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// providerToken is the signed token that proves who sends, for less than an
// hour. Apple wants it to be kept for 20 minutes at least.
type providerToken struct {
	mu      sync.Mutex
	token   token.Token // its own lock is not used
	renewed time.Time   // when Apple last refused one before its time
}

// minTokenAge is how long a token is kept even if it is refused: Apple answers
// TooManyProviderTokenUpdates to those who make them faster.
const minTokenAge = 20 * time.Minute

// newProviderToken reads the key and signs a first token with it.
func newProviderToken(key driver.Secret, keyID, teamID string) (*providerToken, error) {
	b, err := key.Read()
	if err != nil {
		return nil, err
	}
	signer, err := token.AuthKeyFromBytes(b)
	if err != nil {
		return nil, fmt.Errorf("is not a key as Apple makes them (.p8): %w", err)
	}
	p := &providerToken{token: token.Token{AuthKey: signer, KeyID: keyID, TeamID: teamID}}
	if _, err := p.token.Generate(); err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return p, nil
}

// bearer returns the token, a new one when it is 50 minutes old.
func (p *providerToken) bearer() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token.Expired() {
		if _, err := p.token.Generate(); err != nil {
			return "", err
		}
	}
	return p.token.Bearer, nil
}

// renew makes a new token in place of one that was refused as expired, once
// for all requests that had it and at most once in minTokenAge. It reports
// whether another token is there to be tried.
func (p *providerToken) renew(refused string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token.Bearer != refused {
		return true
	}
	if !p.renewed.IsZero() && time.Since(p.renewed) < minTokenAge {
		return false
	}
	p.renewed = time.Now()
	_, err := p.token.Generate()
	return err == nil
}

// certificate is what a push certificate says of itself.
type certificate struct {
	file        string
	until       time.Time
	topics      []string // empty: it does not say
	development bool
	production  bool
}

// Extensions and the attribute by which Apple marks push certificates
// (Worldwide Developer Relations certification practice statement, "SSL
// client certificates").
var (
	oidDevelopment = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 1}
	oidProduction  = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 2}
	oidTopics      = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}
	oidUserID      = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
)

// readCertificate reads the first certificate of a PEM file.
func readCertificate(file string) (certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return certificate{}, err
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return certificate{}, fmt.Errorf("%q: %w", file, err)
		}
		return describe(file, leaf), nil
	}
	return certificate{}, fmt.Errorf("%q holds no certificate in PEM", file)
}

func describe(file string, leaf *x509.Certificate) certificate {
	c := certificate{file: file, until: leaf.NotAfter}
	for _, e := range leaf.Extensions {
		switch {
		case e.Id.Equal(oidDevelopment):
			c.development = true
		case e.Id.Equal(oidProduction):
			c.production = true
		case e.Id.Equal(oidTopics):
			c.topics = append(c.topics, topicsIn(e.Value)...)
		}
	}
	for _, n := range leaf.Subject.Names {
		if id, ok := n.Value.(string); ok && n.Type.Equal(oidUserID) {
			c.topics = append(c.topics, id)
		}
	}
	return c
}

// topicsIn reads the extension that lists topics: a sequence in which each
// topic, a string, is followed by a sequence of what it is for.
func topicsIn(der []byte) (topics []string) {
	var list []asn1.RawValue
	if _, err := asn1.Unmarshal(der, &list); err != nil {
		return nil
	}
	for _, v := range list {
		if v.Tag == asn1.TagUTF8String && v.Class == asn1.ClassUniversal {
			topics = append(topics, string(v.Bytes))
		}
	}
	return topics
}

// faults says for what a certificate, valid in itself, cannot be used.
func (c certificate) faults(topics []string, sandbox bool) (faults []error) {
	for i, t := range topics {
		if len(c.topics) > 0 && !slices.Contains(c.topics, t) {
			faults = append(faults, fmt.Errorf("topics[%d]: %q is not one of %q, for which the certificate in %q is made", i, t, c.topics, c.file))
		}
	}
	if marked := c.development || c.production; marked && sandbox && !c.development {
		faults = append(faults, fmt.Errorf("sandbox: true, but the certificate in %q is for production", c.file))
	} else if marked && !sandbox && !c.production {
		faults = append(faults, fmt.Errorf("sandbox: false, but the certificate in %q is for development", c.file))
	}
	return faults
}
