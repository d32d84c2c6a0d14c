package exec

import (
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// Config of the driver: its keys in an entry.
type Config struct {
	// Program is the absolute path of what is run, Args its arguments. No
	// shell reads them, and nothing in them is replaced.
	Program string   `mapstructure:"program"`
	Args    []string `mapstructure:"args"`
	// Dir is the absolute path of the folder that it runs in; empty is the
	// program's own.
	Dir string `mapstructure:"dir"`
	// Env is all that the program finds in its environment, besides PATH
	// where that is not given.
	Env []Variable `mapstructure:"env"`
	// Allow is a regular expression that the whole of what a device names
	// must match.
	Allow string `mapstructure:"allow"`
	// Timeout bounds one run; then the program and its group are killed.
	Timeout time.Duration `mapstructure:"timeout"`
	// Processes is how many run at once.
	Processes int `mapstructure:"processes"`
}

// Variable of the program's environment. It has a Value, or a Secret that is
// read once, at start.
type Variable struct {
	Name   string        `mapstructure:"name"`
	Value  string        `mapstructure:"value"`
	Secret driver.Secret `mapstructure:"secret"`
}

// DefaultConfig is what holds for keys that are not set.
func DefaultConfig() Config {
	return Config{
		Allow:     `[A-Za-z0-9+][A-Za-z0-9+@._:-]*`,
		Timeout:   10 * time.Second,
		Processes: 8,
	}
}

// Faults says all that is wrong with the configuration, each with the key
// and the value.
func (c Config) Faults() []error {
	_, faults := c.compile()
	return faults
}

// compiled is what the texts of a configuration mean.
type compiled struct {
	allow *regexp.Regexp
	dir   string
	env   []string
}

const (
	maxArgs      = 64
	maxVariables = 64
	defaultPath  = "/usr/local/bin:/usr/bin:/bin"
)

var validVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c Config) compile() (made compiled, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case c.Program == "":
		wrong("program: is not given")
	case !filepath.IsAbs(c.Program):
		wrong("program: %q is not an absolute path", c.Program)
	default:
		if _, err := osexec.LookPath(c.Program); err != nil {
			wrong("program: %q cannot be run: %w", c.Program, cause(err))
		}
	}
	if len(c.Args) > maxArgs {
		wrong("args: %d are more than %d", len(c.Args), maxArgs)
	}
	for i, a := range c.Args {
		if strings.ContainsRune(a, 0) {
			wrong("args[%d]: %q holds a NUL", i, a)
		}
	}
	if made.dir = c.Dir; made.dir == "" {
		made.dir = filepath.Dir(c.Program)
	} else if st, err := os.Stat(c.Dir); !filepath.IsAbs(c.Dir) || err != nil || !st.IsDir() {
		wrong("dir: %q is not the absolute path of a folder", c.Dir)
	}
	var errs []error
	made.env, errs = c.environment()
	faults = append(faults, errs...)
	allow, err := regexp.Compile(`\A(?:` + c.Allow + `)\z`)
	switch {
	case c.Allow == "":
		wrong("allow: is empty, so that nobody could be kicked")
	case err != nil:
		wrong("allow: %q is not a regular expression: %w", c.Allow, err)
	}
	made.allow = allow
	if c.Timeout < 10*time.Millisecond || c.Timeout > 5*time.Minute {
		wrong("timeout: %v is not between 10ms and 5m", c.Timeout)
	}
	if c.Processes < 1 || c.Processes > 1024 {
		wrong("processes: %d is not between 1 and 1024", c.Processes)
	}
	return made, faults
}

// cause is why a path cannot be run, without the path: the caller says it.
func cause(err error) error {
	if e := (*osexec.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := (*os.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return err
}

// environment returns NAME=value pairs, as os/exec takes them.
func (c Config) environment() (env []string, faults []error) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Env) > maxVariables {
		wrong("env: %d variables are more than %d", len(c.Env), maxVariables)
	}
	seen := make(map[string]bool)
	for i, v := range c.Env {
		value := v.Value
		switch {
		case !validVariable.MatchString(v.Name):
			wrong("env[%d].name: %q is not letters, digits and _", i, v.Name)
		case seen[v.Name]:
			wrong("env[%d].name: %q is given twice", i, v.Name)
		case strings.ContainsRune(v.Value, 0):
			wrong("env[%d].value: %q holds a NUL", i, v.Value)
		}
		seen[v.Name] = true
		if !v.Secret.IsZero() {
			if v.Value != "" {
				wrong("env[%d]: value and secret are both given; one is enough", i)
			}
			b, err := v.Secret.Read()
			if err != nil {
				wrong("env[%d].secret: %w", i, err)
			}
			if value = string(b); strings.ContainsRune(value, 0) {
				wrong("env[%d].secret: holds a NUL", i)
			}
		}
		env = append(env, v.Name+"="+value)
	}
	if !seen["PATH"] {
		env = append(env, "PATH="+defaultPath)
	}
	return env, faults
}
