package firefox

import "syscall"

// endWithParent has the browser killed when the thread ends that starts it,
// also when this program is killed.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
