package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// Backup subflows (RFC 8684 §3.3.8). Both sides can ask for them: the UE by its
// endpoints, the UPF for the standby access of its policy. What the UE sends follows
// both; what is sent to it follows the policy alone (TS 23.501 §5.32.8: the downlink is
// the UPF's to steer).

// uplinkOn waits until an access alone carries the uplink. A pure acknowledgment goes
// the way of the data that it is for.
func (f *fixture) uplinkOn(what string, a steer.Access) {
	f.Helper()
	f.await(what, eventTime, func() bool {
		before := f.carried(lab.DirectionUp)
		time.Sleep(100 * time.Millisecond)
		after := f.carried(lab.DirectionUp)
		used, other := after[a]-before[a], after[a.Other()]-before[a.Other()]
		return used > 100_000 && other < used/10
	})
}

// balanced is a policy under which the UPF asks for no backup.
func (f *fixture) balanced() { f.setPolicy(balance(50)) }

// The UE's endpoint is backup from the beginning; its data use it only while the
// access of the other subflow is dead.
func TestBackupEndpoint(t *testing.T) {
	f := begin(t)
	f.balanced()
	f.endpoints(f.ueAddress(nonTGPP, 0) + " subflow backup")
	c := f.talk()
	c.await(f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0))
	f.uplinkOn("no use of the backup", tgpp)
	normal := f.slowLinks()
	f.kill(tgpp)
	f.uplinkOn("use of the backup", nonTGPP)
	f.link(tgpp, normal)
	f.uplinkOn("no use of the backup once more", tgpp)
	c.end()
	f.counted(map[string]uint64{"MPJoinSynAckRx": 1, "MPJoinSynAckBackupRx": 0, "MPRstRx": 0})
}

// An unused backup subflow dies, and a second one takes over when the first subflow
// dies as well.
func TestBackupDies(t *testing.T) {
	f := begin(t)
	f.balanced()
	f.endpoints(f.ueAddress(nonTGPP, 0)+" subflow backup", f.ueAddress(nonTGPP, 1)+" subflow backup")
	c := f.talk()
	c.await(f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0), f.ueAddress(nonTGPP, 1))
	normal := f.slowLinks()
	f.kill(nonTGPP)
	c.more(500_000)
	f.link(nonTGPP, normal)
	f.kill(tgpp)
	f.uplinkOn("use of a backup", nonTGPP)
	f.link(tgpp, normal)
	c.end()
	f.counted(map[string]uint64{"MPRstRx": 0})
}

// The flag is set and taken back on a join and on the first subflow while they carry
// data: MP_PRIO, which our side counts by where the data go.
func TestBackupAtRunTime(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			f := begin(t)
			if v6 {
				f.v6()
			}
			f.balanced()
			first, join := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0)
			f.endpoints(first+" id 1 subflow", join+" id 2 subflow")
			c := f.talk()
			c.await(first, join)
			c.more(200_000) // Linux sends no MP_PRIO on a join before our fourth ACK
			for i, step := range []struct {
				id, flag string
				want     steer.Access
			}{
				{"2", "backup", tgpp},
				{"2", "nobackup", 2},
				{"1", "backup", nonTGPP},
				{"1", "nobackup", 2},
				{"2", "backup", tgpp},
			} {
				f.pathManager("endpoint", "change", "id", step.id, step.flag)
				f.counted(map[string]uint64{"MPPrioTx": uint64(i) + 1})
				if step.want < steer.NumAccesses {
					f.uplinkOn(fmt.Sprintf("endpoint %s %s", step.id, step.flag), step.want)
				}
			}
			c.end()
			f.counted(map[string]uint64{"MPPrioTx": 5, "MPPrioRx": 0, "MPRstRx": 0})
		})
	}
}

// The endpoint of the first subflow's address is backup from the beginning: there is
// no flag in MP_CAPABLE, so MP_PRIO follows.
func TestFirstSubflowBackup(t *testing.T) {
	for _, join := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "with a join"}[join], func(t *testing.T) {
			f := begin(t)
			f.balanced()
			first, other := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0)
			f.endpoints(first + " subflow backup")
			want := []string{first}
			if join {
				f.endpoint(other + " subflow")
				want = append(want, other)
			}
			c := f.talk()
			c.await(want...)
			f.counted(map[string]uint64{"MPPrioTx": 1})
			if join {
				f.uplinkOn("data on the join", nonTGPP)
			} else {
				f.uplinkOn("data on the only subflow", tgpp)
			}
			c.end()
			f.counted(map[string]uint64{"MPPrioTx": 1, "MPRstRx": 0})
		})
	}
}

// The standby access of Active-Standby is backup to the UE, and what the policy makes
// of it later is told by MP_PRIO: the uplink follows.
func TestPolicyMovesUplink(t *testing.T) {
	f := begin(t)
	c := f.talk()
	c.await(f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0))
	f.uplinkOn("3GPP active", tgpp)
	for range 3 {
		f.setPolicy(prefer(nonTGPP))
		f.uplinkOn("non-3GPP active", nonTGPP)
		f.setPolicy(prefer(tgpp))
		f.uplinkOn("3GPP active again", tgpp)
	}
	c.end()
	f.counted(map[string]uint64{"MPJoinSynAckBackupRx": 1, "MPPrioRx": 12, "MPPrioTx": 0, "MPRstRx": 0})
}
