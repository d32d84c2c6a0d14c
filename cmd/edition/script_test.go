package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must happen.
const patience = time.Minute

// waitReady is "ready FILE": FILE is the growing standard output of a role
// started in the background; its admin listener must answer /readyz with 200.
// It sets $URL and $ADMIN.
func waitReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	m := waitFor(ts, args[0], `edition \w+ on (\S+), admin on (\S+),`)
	ts.Setenv("URL", m[1])
	ts.Setenv("ADMIN", m[2])
	eventually(ts, m[2]+"/readyz answers 200", func() bool {
		code, _ := fetch(m[2] + "/readyz")
		return code == http.StatusOK
	})
}

// eventually waits until ok is true.
func eventually(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// fetch returns the status and body of a GET; 0 when there is no answer.
func fetch(url string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // what there is of it
	return resp.StatusCode, string(body)
}

// get is "get STATUS URL": wants the status and writes the body to body.txt.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get STATUS URL")
	}
	code, body := fetch(args[1])
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s answers %d: %s", args[1], code, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs("body.txt"), []byte(body), 0o600))
}

// waitState is "state ENDPOINT WORD": waits until GET shows the state.
func waitState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: state ENDPOINT WORD")
	}
	eventually(ts, "GET shows "+args[1], func() bool {
		_, body := fetch(args[0])
		return strings.Contains(body, `"state":"`+args[1]+`"`)
	})
}

// waitUpstream is "upstream ADMIN": waits until a relay's only upstream is
// connected.
func waitUpstream(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: upstream ADMIN")
	}
	eventually(ts, "the upstream is connected", func() bool {
		_, body := fetch(args[0] + "/readyz")
		return strings.Contains(body, `"connected":true`)
	})
}

// wantMode is "mode OCTAL FILE".
func wantMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// waitLine is "linewith FILE VAR REGEXP": waits until the file has text that
// matches, and sets VAR to the first group, or the match.
func waitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: linewith FILE VAR REGEXP")
	}
	m := waitFor(ts, args[0], args[2])
	ts.Setenv(args[1], m[len(m)-1])
}

func waitFor(ts *testscript.TestScript, file, pattern string) []string {
	re := regexp.MustCompile(`(?m)` + pattern)
	path := ts.MkAbs(file)
	var m []string
	eventually(ts, file+" has "+pattern, func() bool {
		text, _ := os.ReadFile(path) // it may not be there yet
		m = re.FindStringSubmatch(string(text))
		return m != nil
	})
	return m
}

// wantExit is "exits CODE edition ARGS…": runs the binary and wants its exit
// code; standard error goes to the file stderr.txt.
func wantExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE edition ARGS…")
	}
	if got, want := exitOf(ts, args); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// waitExit is "until CODE edition ARGS…": exits, again and again until the code
// is right. It is for what has a time limit that a slow machine may miss.
func waitExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until CODE edition ARGS…")
	}
	eventually(ts, strings.Join(args[1:], " ")+" exits with "+args[0], func() bool {
		got, want := exitOf(ts, args)
		return got == want
	})
}

// exitOf runs args after the first, which is the exit code that is wanted.
func exitOf(ts *testscript.TestScript, args []string) (got, want int) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), []byte(ts.ReadFile("stdout")), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), []byte(ts.ReadFile("stderr")), 0o600))
	return got, want
}

// join is "join FILE PART…": writes the parts, one after the other, to FILE.
func join(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: join FILE PART…")
	}
	var text []byte
	for _, part := range args[1:] {
		text = append(text, ts.ReadFile(part)...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// occupy is "occupy VAR": listens on a free port until the script's end and
// sets VAR to its address.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VAR")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}
