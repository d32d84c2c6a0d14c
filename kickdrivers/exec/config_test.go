package exec_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/exec"
)

func TestFaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		set  func(*exec.Config)
		want []string // the beginnings of all faults
	}{
		{"none", func(*exec.Config) {}, nil},
		{"no program", func(c *exec.Config) { c.Program = "" }, []string{"program: is not given"}},
		{"a name", func(c *exec.Config) { c.Program = "sh" }, []string{`program: "sh" is not an absolute path`}},
		{"a relative path", func(c *exec.Config) { c.Program = "./sh" }, []string{`program: "./sh" is not an absolute path`}},
		{"no such file", func(c *exec.Config) { c.Program = plain + "er" }, []string{"program: "}},
		{"a folder", func(c *exec.Config) { c.Program = filepath.Dir(plain) }, []string{"program: "}},
		{"not executable", func(c *exec.Config) { c.Program = plain }, []string{"program: "}},
		{"a NUL", func(c *exec.Config) { c.Args = []string{"a", "b\x00"} }, []string{"args[1]: "}},
		{"no folder", func(c *exec.Config) { c.Dir = plain }, []string{"dir: "}},
		{"a relative folder", func(c *exec.Config) { c.Dir = "." }, []string{`dir: "." is not`}},
		{"variables", func(c *exec.Config) {
			c.Env = []exec.Variable{
				{Name: "A=B", Value: "x"},
				{Name: "TWICE", Value: "x"},
				{Name: "TWICE", Value: "y"},
				{Name: "BOTH", Value: "x", Secret: driver.Secret{File: plain}},
				{Name: "NONE", Secret: driver.Secret{File: plain + "er"}},
			}
		}, []string{"env[0].name: ", "env[2].name: ", "env[3]: ", "env[4].secret: "}},
		{"no pattern", func(c *exec.Config) { c.Allow = "" }, []string{"allow: is empty"}},
		{"a bad pattern", func(c *exec.Config) { c.Allow = "(" }, []string{`allow: "(" is not`}},
		{"numbers", func(c *exec.Config) { c.Timeout, c.Processes = 0, 0 }, []string{"timeout: 0s is not", "processes: 0 is not"}},
		{"large numbers", func(c *exec.Config) { c.Timeout, c.Processes = time.Hour, 2000 }, []string{"timeout: 1h", "processes: 2000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := exec.DefaultConfig()
			conf.Program = self
			c.set(&conf)
			faults := conf.Faults()
			if len(faults) != len(c.want) {
				t.Fatalf("faults %q, want %q", faults, c.want)
			}
			for i, f := range faults {
				if !strings.HasPrefix(f.Error(), c.want[i]) {
					t.Errorf("fault %d is %q, want %q…", i, f, c.want[i])
				}
			}
			if _, err := exec.New(conf, driver.Env{}); errors.Is(err, edition.ErrConfig) != (len(c.want) > 0) {
				t.Errorf("New: %v", err)
			}
		})
	}
}
