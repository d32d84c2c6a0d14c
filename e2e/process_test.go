package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the edition program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "edition-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "edition")
		build := exec.Command("go", "build", "-o", binary, "../cmd/edition")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building edition: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// node is one role that runs as a process, keeps its addresses and its data
// folder across restarts, and is killed at the end of the test.
type node struct {
	t     *testing.T
	name  string
	args  []string
	env   []string
	limit int    // of a file's size, in KiB (ulimit -f); 0 is none
	url   string // of the doors
	admin string
	data  string

	mu   sync.Mutex // guards what follows
	live *process
	log  bytes.Buffer
}

// process is one life of a node.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait; to be read after done
}

// Write collects the process's output.
func (n *node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log.Len() > 1<<20 {
		n.log.Reset()
	}
	return n.log.Write(b)
}

// freeAddr finds an address that nobody listens on. Its port is below those that
// systems give out by themselves, or somebody might be given it before the node
// has taken it, or while the node is down.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		addr := l.Addr().String()
		l.Close()
		if _, taken := givenOut.LoadOrStore(addr, true); !taken {
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// givenOut are the addresses of all nodes.
var givenOut sync.Map

// tokenOf is the token of a relay.
func tokenOf(name string) string { return "a-token-for-the-relay-" + name }

func tokenFile(t *testing.T, name string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(f, []byte(tokenOf(name)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// newServer prepares a server that relays of the given names may use.
func newServer(t *testing.T, relays ...string) *node {
	return newNode(t, "server", nil, relays)
}

// newRelay prepares a relay behind up.
func newRelay(t *testing.T, name string, up *node, relays ...string) *node {
	return newNode(t, name, []string{"--upstream", up.url, "--name", name, "--token-file", tokenFile(t, name)}, relays)
}

func newNode(t *testing.T, name string, extra, relays []string) *node {
	t.Helper()
	listen, admin := freeAddr(t), freeAddr(t)
	n := &node{t: t, name: name, url: "http://" + listen, admin: "http://" + admin, data: t.TempDir()}
	role := "relay"
	if extra == nil {
		role, extra = "server", []string{"--public-url", n.url}
	}
	n.args = append([]string{role, "--listen", listen, "--admin", admin, "--data", n.data}, extra...)
	for _, r := range relays {
		n.args = append(n.args, "--relay", r+"="+tokenFile(t, r))
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			n.mu.Lock()
			defer n.mu.Unlock()
			t.Logf("output of %s:\n%s", n.name, tail(n.log.String(), 4000))
		}
	})
	return n
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// patience is for what takes a few seconds at most on any machine.
const patience = 90 * time.Second

// unhurried are settings with which nothing happens because a machine stood
// still for a while.
var unhurried = []string{
	"EDITION_SESSION_HELLO_TIMEOUT=5m", "EDITION_SESSION_PING=5m", "EDITION_SESSION_WRITE_TIMEOUT=5m",
}

// start runs the process and waits until it is ready.
func (n *node) start() *node {
	n.t.Helper()
	if err := n.run(); err != nil {
		n.t.Fatal(err)
	}
	return n
}

// cannotListen is the exit code of a process whose address is taken.
const cannotListen = 71

// run is start for other goroutines than the test's. Who has the node's address
// meanwhile is waited for.
func (n *node) run() error {
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := n.runOnce()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != cannotListen || time.Since(start) > patience {
			return err
		}
	}
}

func (n *node) runOnce() error {
	cmd := exec.Command(binary, n.args...)
	if n.limit > 0 {
		script := fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, 2*n.limit) // blocks of 512 bytes (POSIX)
		cmd = exec.Command("sh", append([]string{"-c", script, binary}, n.args...)...)
	}
	cmd.Env = slices.Concat(os.Environ(), unhurried, n.env)
	cmd.Stdout, cmd.Stderr = n, n
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	n.mu.Lock()
	n.live = p
	n.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	deadline := time.After(patience)
	for {
		a, err := request(http.MethodGet, n.admin+"/readyz", "", nil)
		if err == nil && a.status == http.StatusOK {
			return nil
		}
		select {
		case <-p.done:
			n.mu.Lock()
			defer n.mu.Unlock()
			return fmt.Errorf("%s ended before it was ready: %w\n%s", n.name, p.err, tail(n.log.String(), 2000))
		case <-deadline:
			return fmt.Errorf("%s is not ready after %v", n.name, patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends the process as a crash would.
func (n *node) kill() { n.signal(syscall.SIGKILL) }

// stop asks the process to end, waits, and returns how it ended.
func (n *node) stop() error { return n.signal(syscall.SIGTERM) }

func (n *node) signal(s syscall.Signal) error {
	n.mu.Lock()
	p := n.live
	n.live = nil
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		n.t.Errorf("%s did not end within %v of %v", n.name, patience, s)
		return p.cmd.Process.Kill()
	}
}
