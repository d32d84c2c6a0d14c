package bare

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sideshow/apns2/token"
)

// Apple is a client of the Apple Push Notification service that does nothing
// but push.
type Apple struct {
	Addr                   string
	CAFile                 string // whom to believe
	KeyFile, KeyID, TeamID string // of provider tokens
	Topic                  string
	Connections, Parallel  int // Parallel requests on all connections
}

// Push makes a background push to each of n devices and returns how long that
// took, the making of connections left out.
func (a Apple) Push(ctx context.Context, n int, device func(i int) string) (time.Duration, error) {
	header, err := a.header()
	if err != nil {
		return 0, err
	}
	conns, err := a.connect(ctx)
	defer func() {
		for _, c := range conns {
			c.Close() //nolint:errcheck // all was answered
		}
	}()
	if err != nil {
		return 0, err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, a.Parallel)
	start := time.Now()
	for w := range a.Parallel {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = pushOne(ctx, conns[w%len(conns)], "https://"+a.Addr+"/3/device/"+device(i), header)
			}
		})
	}
	wg.Wait()
	return time.Since(start), errors.Join(errs...)
}

var background = []byte(`{"aps":{"content-available":1}}`)

func pushOne(ctx context.Context, c *http.ClientConn, url string, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(background))
	if err != nil {
		return err
	}
	req.Header = header
	res, err := c.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", res.Status)
	}
	return nil
}

// header is the same for all, and written as HTTP/2 has it.
func (a Apple) header() (http.Header, error) {
	key, err := token.AuthKeyFromFile(a.KeyFile)
	if err != nil {
		return nil, err
	}
	t := token.Token{AuthKey: key, KeyID: a.KeyID, TeamID: a.TeamID}
	if _, err := t.Generate(); err != nil {
		return nil, err
	}
	return http.Header{
		"authorization":    {"bearer " + t.Bearer},
		"content-type":     {"application/json"},
		"user-agent":       {"bare"},
		"apns-topic":       {a.Topic},
		"apns-push-type":   {"background"},
		"apns-priority":    {"5"},
		"apns-collapse-id": {"bare"},
		"apns-expiration":  {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)},
	}, nil
}

// connect makes the connections, each with one request that is answered, so
// that the server's limits are known.
func (a Apple) connect(ctx context.Context) (conns []*http.ClientConn, err error) {
	ca, err := os.ReadFile(a.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	only := new(http.Protocols)
	only.SetHTTP2(true)
	t := &http.Transport{Protocols: only, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	for range a.Connections {
		c, err := t.NewClientConn(ctx, "https", a.Addr)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+a.Addr+"/", nil)
		if err != nil {
			return conns, err
		}
		res, err := c.RoundTrip(req)
		if err != nil {
			return conns, err
		}
		res.Body.Close()
	}
	return conns, nil
}
