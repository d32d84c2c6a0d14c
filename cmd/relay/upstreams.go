package relay

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/relay"
)

// upstreams turns the configuration's list into the relay's.
func upstreams(cfg configs.Relay) ([]relay.Upstream, error) {
	list := make([]relay.Upstream, 0, len(cfg.Upstreams))
	for _, c := range cfg.Upstreams {
		u := relay.Upstream{
			Name: c.Name, URL: c.URL, Relay: c.Relay, Token: c.Token.Token(), Custody: c.Custody,
			Mode: c.Mode, Interval: c.Interval, Wait: c.Wait, Proxy: c.Proxy.Reveal(),
		}
		var err error
		if u.TLS, err = upstreamTLS(c); err == nil && len(c.Kick) > 0 {
			u.Kick, err = json.Marshal(c.Kick)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: upstream %s: %w", edition.ErrConfig, c.Name, err)
		}
		list = append(list, u)
	}
	return list, nil
}

// reloadTokens has the relay show its upstreams the tokens that are configured
// then. now are the upstreams of the start: others count after a restart.
func reloadTokens(r *relay.Relay, now []configs.Upstream) serve.Reloader {
	tokens := make(map[string]string, len(now)) // as shown, by the upstreams' names
	for _, u := range now {
		tokens[u.Name] = u.Token.Token()
	}
	return func(f serve.Fresh) (serve.Change, error) {
		var c serve.Change
		fresh := maps.Clone(tokens)
		for _, u := range f.Upstreams {
			if was, known := tokens[u.Name]; known && was != u.Token.Token() {
				fresh[u.Name] = u.Token.Token()
				c.What = append(c.What, fmt.Sprintf("upstreams: token of %s", u.Name))
			}
		}
		if c.What != nil {
			c.Use = func() {
				for name, token := range fresh {
					r.SetToken(name, token)
				}
				tokens = fresh
			}
		}
		return c, nil
	}
}

// upstreamTLS is nil when the system's list of authorities is enough.
func upstreamTLS(c configs.Upstream) (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		t.RootCAs.AppendCertsFromPEM(pem)
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
