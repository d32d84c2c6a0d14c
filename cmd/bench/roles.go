package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/edition-push/edition/cmd/bench/internal/child"
)

// process is a server under measurement: a role or a bare reference.
type process struct {
	*child.Process
	addr  string // of its door
	admin string // of a role's admin listener
}

// readyTime is what a role may need to open its data file.
const readyTime = 2 * time.Minute

// quiet is what roles run with besides their flags: no rate limits that the
// load would hit, no time spent on farewells.
var quiet = []string{"EDITION_LOG_LEVEL=warn", "EDITION_DRAIN=0s", "EDITION_SESSION_REGISTER_RATE=0", "EDITION_SESSION_MESSAGE_RATE=0"}

// startRole starts `edition server` or `edition relay` with its own flags and
// waits until it is ready. Its addresses are free ones; when somebody has taken
// one before the role could, others are tried.
func startRole(ctx context.Context, role, dir string, flags ...string) (p *process, err error) {
	for range addressTries {
		if p, err = tryRole(ctx, role, dir, flags...); !addressTaken(err) {
			break
		}
	}
	return p, err
}

const (
	addressTries = 10
	listenCode   = 71 // exit code of edition.ErrListen
)

func addressTaken(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.ExitCode() == listenCode
}

func tryRole(ctx context.Context, role, dir string, flags ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := append([]string{"bench", "child", role, "--listen", addr, "--admin", admin, "--data", dir}, flags...)
	p, err := child.Start(ctx, "edition "+role, quiet, args)
	if err != nil {
		return nil, err
	}
	r := &process{Process: p, addr: addr, admin: admin}
	if err := r.ready(ctx); err != nil {
		p.Stop() //nolint:errcheck // it did not start
		return nil, err
	}
	return r, nil
}

func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready in %v", readyTime))
	defer cancel()
	for {
		if status, err := get(ctx, "http://"+p.admin+"/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.Exited():
			return p.Failure()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// startChild starts one of the references, or a load generator.
func startChild(ctx context.Context, name string, args ...string) (*process, error) {
	p, err := child.Start(ctx, name, nil, append([]string{"bench", "child"}, args...))
	if err != nil {
		return nil, err
	}
	addr, err := p.Address()
	if err != nil {
		p.Stop() //nolint:errcheck // it did not start
		return nil, err
	}
	return &process{Process: p, addr: addr}, nil
}

// freeAddr finds a loopback address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
