package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"

	"github.com/edition-push/edition"
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// proxyFor returns the proxy towards base as configured, or nil for none.
func proxyFor(configured string, base *url.URL) (*url.URL, error) {
	switch configured {
	case ProxyDirect:
		return nil, nil //nolint:nilnil // no proxy is an answer
	case "":
		p, err := httpproxy.FromEnvironment().ProxyFunc()(base)
		if err != nil {
			return nil, fmt.Errorf("%w: proxy from the environment: %w", edition.ErrConfig, err)
		}
		return p, checkProxy(p)
	}
	p, err := url.Parse(configured)
	if err != nil {
		// The error of url.Parse would show the password.
		return nil, fmt.Errorf("%w: proxy is not a URL", edition.ErrConfig)
	}
	return p, checkProxy(p)
}

func checkProxy(p *url.URL) error {
	if p == nil {
		return nil
	}
	switch p.Scheme {
	case "http", "https", "socks5", "socks5h":
		if p.Hostname() != "" {
			return nil
		}
	}
	return fmt.Errorf("%w: proxy %q is not like http://host:port or socks5://host:port", edition.ErrConfig, p.Redacted())
}

// through returns a dialer that reaches any address by way of a proxy.
func through(p *url.URL, direct dialFunc) dialFunc {
	if p == nil {
		return direct
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		var conn net.Conn
		var err error
		if p.Scheme == "http" || p.Scheme == "https" {
			conn, err = dialConnect(ctx, p, addr, direct)
		} else {
			conn, err = dialSOCKS(ctx, p, network, addr, direct)
		}
		if err != nil {
			return nil, fault(ReasonProxy, "proxy %s: %w", p.Host, err)
		}
		return conn, nil
	}
}

// contextDialer makes a dialFunc what package proxy asks for.
type contextDialer dialFunc

func (d contextDialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

func (d contextDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}

func dialSOCKS(ctx context.Context, p *url.URL, network, addr string, direct dialFunc) (net.Conn, error) {
	var auth *proxy.Auth
	if p.User != nil {
		password, _ := p.User.Password()
		auth = &proxy.Auth{User: p.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", hostPort(p, "1080"), auth, contextDialer(direct))
	if err != nil {
		return nil, err
	}
	return d.(proxy.ContextDialer).DialContext(ctx, network, addr)
}

// dialConnect asks an HTTP proxy for a tunnel (RFC 9110 §9.3.6).
func dialConnect(ctx context.Context, p *url.URL, addr string, direct dialFunc) (net.Conn, error) {
	port := "80"
	if p.Scheme == "https" {
		port = "443"
	}
	conn, err := direct(ctx, "tcp", hostPort(p, port))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // ends a read that waits
	defer stop()
	if p.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: p.Hostname(), MinVersion: tls.VersionTLS12})
	}
	if err := connect(conn, p.User, addr); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func connect(conn net.Conn, user *url.Userinfo, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+
			base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// Nobody behind the tunnel speaks before it is spoken to, so nothing of
	// theirs can be lost in this reader.
	br := bufio.NewReaderSize(io.LimitReader(conn, 16<<10), 1024)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT was answered %.*s", maxReasons, resp.Status)
	}
	if br.Buffered() > 0 {
		return fmt.Errorf("the proxy spoke inside the tunnel")
	}
	return nil
}

func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}
