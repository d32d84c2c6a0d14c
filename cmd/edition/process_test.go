package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// running is the key of a script's value that holds what it has started and not
// stopped, by name.
const running = "running"

func started(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value(running).(map[string]*exec.Cmd)
}

// start is "start NAME edition ARGS…": runs the binary in the background with
// its output in NAME.out and NAME.err. The script's end kills it.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME edition ARGS…")
	}
	name := args[0]
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer errs.Close()
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "GORACE="+ts.Getenv("GORACE"))
	ts.Check(cmd.Start())
	started(ts)[name] = cmd
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// signalTo is "signal NAME TERM|INT|HUP|KILL".
func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "HUP": syscall.SIGHUP, "KILL": os.Kill}
	if neg || len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME TERM|INT|HUP|KILL")
	}
	ts.Check(named(ts, args[0]).Process.Signal(signals[args[1]]))
}

// ended is "ended NAME CODE": waits for the process and wants its exit code;
// -1 is that of one ended by a signal.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended NAME CODE")
	}
	cmd := named(ts, args[0])
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); ok {
		code = exit.ExitCode()
	}
	if !late.Stop() {
		ts.Fatalf("%s has not ended in %v\n%s", args[0], patience, ts.ReadFile(args[0]+".err"))
	}
	if want, err := strconv.Atoi(args[1]); err != nil || code != want {
		ts.Fatalf("%s ended with %d, want %s\n%s", args[0], code, args[1], ts.ReadFile(args[0]+".err"))
	}
}

func named(ts *testscript.TestScript, name string) *exec.Cmd {
	cmd := started(ts)[name]
	if cmd == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return cmd
}
