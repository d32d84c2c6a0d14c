package httpconn_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edition-push/edition/internal/httpconn"
)

// serve answers on connections whose watch can be left out.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = httpconn.Listen(s.Listener)
	s.Config.ConnContext = httpconn.Context
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const request = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"

// TestUnwatched has a client leave while a handler waits, which learns of it
// only when it watches.
func TestUnwatched(t *testing.T) {
	for _, watch := range []bool{true, false} {
		t.Run(fmt.Sprintf("watch=%t", watch), func(t *testing.T) {
			reading, ended := make(chan struct{}), make(chan error, 1)
			addr := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				c := httpconn.Of(r.Context())
				if !watch {
					c.Unwatch()
					defer c.Watch()
				}
				if b, err := io.ReadAll(r.Body); string(b) != "hello" || err != nil {
					t.Errorf("body %q, %v", b, err)
				}
				close(reading)
				if watch {
					<-r.Context().Done()
				} else if n, err := c.Read(make([]byte, 2)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("read %d, %v; want the end", n, err)
				}
				ended <- r.Context().Err()
			})
			conn := dial(t, addr)
			io.WriteString(conn, request)
			<-reading
			conn.Close()
			if err := <-ended; (err != nil) != watch {
				t.Errorf("the request's context: %v", err)
			}
		})
	}
}

// TestPipeline has requests follow each other on one connection, some of which
// come while the one before is being answered.
func TestPipeline(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c := httpconn.Of(r.Context())
		if r.URL.RawQuery != "watch" {
			c.Unwatch()
			defer c.Watch()
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	})
	conn := dial(t, addr)
	const n = 200
	go func() {
		for i := range n {
			query := ""
			if i%3 == 0 {
				query = "?watch"
			}
			body := strings.Repeat("x", i*100)
			fmt.Fprintf(conn, "PUT /%d%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", i, query, len(body), body)
		}
	}()
	r := bufio.NewReader(conn)
	for i := range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		b, err := io.ReadAll(res.Body)
		if want := fmt.Sprintf("/%d %s", i, strings.Repeat("x", i*100)); string(b) != want || err != nil {
			t.Fatalf("request %d: answered %.40q, %v", i, b, err)
		}
	}
}

// TestOthers checks that what is no such connection has none.
func TestOthers(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if c := httpconn.Of(r.Context()); c != nil {
			t.Errorf("got %v", c)
		}
	}))
	s.Config.ConnContext = httpconn.Context
	s.Start()
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
