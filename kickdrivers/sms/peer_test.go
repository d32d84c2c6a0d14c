package sms_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/sms"
	"github.com/edition-push/edition/kickdrivers/sms/smpp"
	"github.com/edition-push/edition/kickdrivers/sms/smppsim"
)

// independent starts testdata/peer/peer.js: the npm package smpp. What it
// tells, a JSON object a line, comes over the channel, which is closed when it
// has ended. It ends with the test.
func independent(t *testing.T, args ...string) <-chan map[string]any {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the independent peer cannot run")
	}
	if _, err := os.Stat(filepath.Join("testdata", "peer", "node_modules", "smpp")); err != nil {
		t.Skip("the npm package smpp is not installed: make peers does it")
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("testdata", "peer", "peer.js")}, args...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan map[string]any, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(told)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var what map[string]any
			if err := json.Unmarshal(lines.Bytes(), &what); err != nil {
				t.Errorf("the peer says %q", lines.Text())
				continue
			}
			told <- what
		}
	})
	t.Cleanup(func() {
		stdin.Close()
		reading.Wait()
		cmd.Wait()
	})
	return told
}

// TestIndependentSMSC sends through an SMSC that others wrote.
func TestIndependentSMSC(t *testing.T) {
	told := independent(t, "smsc")
	first := <-told
	port, ok := first["port"].(float64)
	if !ok {
		t.Fatalf("the peer says %v", first)
	}
	receipts := make(chan string, 10)
	open := func(change func(*sms.Config)) *sms.Driver {
		c := sms.DefaultConfig()
		c.Prefixes, c.From = []string{"+34"}, "Edition"
		c.Timeout, c.SMPP.BindTimeout = timeout, timeout
		c.SMPP.Addresses = []string{"smpp://127.0.0.1:" + strconv.Itoa(int(port))}
		c.SMPP.SystemID, c.SMPP.Password = "edition", secret(t, "secret")
		change(&c)
		return open(t, c, driver.Env{Receipt: func(state string) { receipts <- state }})
	}
	for _, c := range []struct {
		change func(*sms.Config)
		esm    float64
		coding float64
		udh    string
		text   string
	}{
		{func(c *sms.Config) { c.Text = "Wake [up] €@ñ" }, 0, 0, "", "Wake [up] €@ñ AB12CD34"},
		{func(c *sms.Config) { c.Text = "起きて" }, 0, 8, "", "起きて AB12CD34"},
		{func(c *sms.Config) { c.Form, c.Port, c.SourcePort, c.Hex = "binary", 4000, 1, "00ff" }, 0x40, 4, "05040fa00001", "00ff20414231324344" + "3334"},
	} {
		d := open(c.change)
		if err := kick(t, d, "AB12CD34", target("+34600111222"))[0]; err != nil {
			t.Fatal(err)
		}
		if state := <-receipts; state != smpp.StateDelivered {
			t.Errorf("the receipt says %q", state)
		}
		if err := kick(t, d, "", target("+34600111229"))[0]; !errors.Is(err, edition.ErrTooMany) {
			t.Errorf("a full queue: %v", err)
		}
		d.Close()
		got := make(map[string]any)
		for got["unbind"] == nil {
			what, ok := <-told
			if !ok {
				t.Fatalf("the peer has ended after it said %v", got)
			}
			maps.Copy(got, what)
		}
		for key, want := range map[string]any{
			"bind": "edition", "version": float64(smpp.Version), "enquired": true, "to": "34600111222", "ton": 1.0, "npi": 1.0,
			"from": "Edition", "esm_class": c.esm, "data_coding": c.coding, "text": c.text, "receipt": 0.0,
		} {
			if got[key] != want {
				t.Errorf("%s: the SMSC got %v, want %v", key, got[key], want)
			}
		}
		if udh, _ := got["udh"].(string); !strings.HasSuffix(udh, c.udh) || (c.udh == "") != (udh == "") {
			t.Errorf("the user data header is %q, want %q", udh, c.udh)
		}
	}
	d := open(func(c *sms.Config) { c.SMPP.Password = secret(t, "wrong") })
	if err := kick(t, d, "", target("+34600111222"))[0]; !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestIndependentESME has a client that others wrote talk to the simulator.
func TestIndependentESME(t *testing.T) {
	server, p, _ := smsc(t, smppsim.Options{})
	_, port, _ := strings.Cut(server.Addr(), ":")
	told := independent(t, "esme", port)
	got := make(map[string]any)
	for got["unbound"] == nil {
		what, ok := <-told
		if !ok {
			t.Fatalf("the peer has ended after it said %v", got)
		}
		maps.Copy(got, what)
	}
	for key, want := range map[string]any{
		"early": float64(smpp.InvBindStatus), "bound": 0.0, "system_id": "smppsim", "text": 0.0, "ucs2": 0.0,
		"nobody": float64(smpp.InvDest), "enquired": 0.0, "unknown": "generic_nack", "status": float64(smpp.InvCmdID),
		"state": 2.0, "unbound": 0.0,
	} {
		if got[key] != want {
			t.Errorf("%s: the client got %v, want %v", key, got[key], want)
		}
	}
	if id, _ := got["id"].(string); id == "" {
		t.Error("no message_id")
	}
	if text, _ := got["receipt"].(string); !strings.Contains(text, "stat:DELIVRD") {
		t.Errorf("the receipt says %q", text)
	}
	if sent := p.sent(); p.count() != 2 || !strings.Contains(sent, "Hello [€]") || !strings.Contains(sent, "起きて") {
		t.Errorf("%d messages arrived: %s", p.count(), sent)
	}
}
