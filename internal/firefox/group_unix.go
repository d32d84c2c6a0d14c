//go:build unix

package firefox

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the browser the leader of a process group: Ctrl-C in the
// terminal is not for it, and its helpers end with it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
}

func killGroup(cmd *exec.Cmd) {
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
}
