package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// rest makes the requests of the REST transport.
type rest struct {
	http  http.Client
	base  string
	token func() string // what a request shows; empty: nothing
}

func newRest(cfg *Config, base, p *url.URL, token func() string) *rest {
	t := &http.Transport{
		DialContext:            plainDial(cfg),
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        2 * wire.MaxWait,
		DisableCompression:     true, // the size limit is that of what was sent
		MaxResponseHeaderBytes: 16 << 10,
		ReadBufferSize:         1 << 10,
		WriteBufferSize:        1 << 10,
	}
	if cfg.TLS != nil {
		t.TLSClientConfig = cfg.TLS.Clone()
	}
	if p != nil {
		t.Proxy = http.ProxyURL(p)
	}
	if cfg.Relay != "" {
		t.MaxIdleConnsPerHost = 64
	}
	return &rest{base: base.String(), token: token, http: http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (r *rest) close() { r.http.CloseIdleConnections() }

// post sends in as JSON and reads the answer into out. It returns the status,
// which is 200, 201 or 204 when err is nil. wait is what upstream may take
// beyond the usual.
func (r *rest) post(ctx context.Context, path string, wait time.Duration, in, out any) (int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if token := r.token(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, requestFault(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return resp.StatusCode, nil
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return resp.StatusCode, answerFault(resp)
	case mediaType(resp.Header) != "application/json":
		err := answerFault(resp)
		if ReasonOf(err) == ReasonProtocol {
			err = fault(ReasonProtocol, "%s answered %.*q instead of JSON", resp.Request.URL.Host, maxReasons, mediaType(resp.Header))
		}
		return resp.StatusCode, err
	}
	return resp.StatusCode, readAnswer(resp, out)
}

func readAnswer(resp *http.Response, out any) error {
	limited := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	err := wire.DecodeJSON(limited, out)
	if err == nil {
		_, err = io.Copy(io.Discard, limited) // so that the connection is used again
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, edition.ErrTooLarge) {
		return fault(ReasonTooLarge, "an answer from %s is over %d bytes", resp.Request.URL.Host, maxAnswer)
	}
	if err != nil {
		if isTimeout(err) {
			return fault(ReasonTimeout, "%w", err)
		}
		return fault(ReasonProtocol, "%s answered what is not expected: %w", resp.Request.URL.Host, err)
	}
	return nil
}

// requestFault sorts an error of http.Client, whose text names the URL again.
func requestFault(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return netFault(err, ReasonClosed)
}
