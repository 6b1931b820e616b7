package dsm

import (
	"errors"
	"fmt"
)

// rbTree is a red-black tree of runs in the order of keys, in one slab: nodes are linked
// by index, and 0 stands for no node.
//
//	no red node has a red child
//	every way from a node down to 0 passes equally many black nodes: its black height
type rbTree struct {
	nodes []rbNode // nodes[0] is black; its parent is scratch of remove
	root  int32
	free  []int32 // roots of trees that are free as a whole
}

type rbNode struct {
	run                 Run
	left, right, parent int32
	red                 bool
}

// node gives a red node without links.
func (t *rbTree) node(r Run) int32 {
	if n := len(t.free); n > 0 {
		x := t.free[n-1]
		t.free = t.free[:n-1]
		t.release(t.nodes[x].left)
		t.release(t.nodes[x].right)
		t.nodes[x] = rbNode{run: r, red: true}
		return x
	}
	if len(t.nodes) == 0 {
		t.nodes = append(t.nodes, rbNode{})
	}
	t.nodes = append(t.nodes, rbNode{run: r, red: true})
	return int32(len(t.nodes) - 1)
}

// release gives the whole tree below x back, in one step.
func (t *rbTree) release(x int32) {
	if x != 0 {
		t.free = append(t.free, x)
	}
}

func (t *rbTree) leftmost(x int32) int32 {
	for x != 0 && t.nodes[x].left != 0 {
		x = t.nodes[x].left
	}
	return x
}

func (t *rbTree) rightmost(x int32) int32 {
	for x != 0 && t.nodes[x].right != 0 {
		x = t.nodes[x].right
	}
	return x
}

// next is the node after x, 0 if x is the last.
func (t *rbTree) next(x int32) int32 {
	if r := t.nodes[x].right; r != 0 {
		return t.leftmost(r)
	}
	p := t.nodes[x].parent
	for p != 0 && x == t.nodes[p].right {
		x, p = p, t.nodes[p].parent
	}
	return p
}

// previous is the node before x; of 0, the last.
func (t *rbTree) previous(x int32) int32 {
	if x == 0 {
		return t.rightmost(t.root)
	}
	if l := t.nodes[x].left; l != 0 {
		return t.rightmost(l)
	}
	p := t.nodes[x].parent
	for p != 0 && x == t.nodes[p].left {
		x, p = p, t.nodes[p].parent
	}
	return p
}

// replaceChild puts y where x is below x's parent.
func (t *rbTree) replaceChild(x, y int32) {
	p := t.nodes[x].parent
	switch {
	case p == 0:
		t.root = y
	case t.nodes[p].left == x:
		t.nodes[p].left = y
	default:
		t.nodes[p].right = y
	}
	t.nodes[y].parent = p
}

// rotate lifts x over its parent.
func (t *rbTree) rotate(x int32) {
	n := t.nodes
	p := n[x].parent
	t.replaceChild(p, x)
	if n[p].left == x {
		n[p].left = n[x].right
		if c := n[x].right; c != 0 {
			n[c].parent = p
		}
		n[x].right = p
	} else {
		n[p].right = n[x].left
		if c := n[x].left; c != 0 {
			n[c].parent = p
		}
		n[x].left = p
	}
	n[p].parent = x
}

// insertBefore puts r before node y; at the end if y is 0.
func (t *rbTree) insertBefore(y int32, r Run) {
	x := t.node(r)
	switch {
	case t.root == 0:
		t.root = x
	case y != 0 && t.nodes[y].left == 0:
		t.nodes[y].left, t.nodes[x].parent = x, y
	default:
		y = t.previous(y) // has no right child
		t.nodes[y].right, t.nodes[x].parent = x, y
	}
	t.fixRed(x)
}

// fixRed restores the colors after x became red. It reports whether the black height of
// the tree grew.
func (t *rbTree) fixRed(x int32) (grew bool) {
	n := t.nodes
	for n[n[x].parent].red {
		p := n[x].parent
		g := n[p].parent
		u := n[g].left + n[g].right - p // the other child
		if n[u].red {
			n[p].red, n[u].red, n[g].red = false, false, true
			x = g
			continue
		}
		if (n[g].left == p) != (n[p].left == x) {
			t.rotate(x)
			p = x
		}
		n[p].red, n[g].red = false, true
		t.rotate(p)
		break
	}
	grew = n[t.root].red
	n[t.root].red = false
	return grew
}

// remove takes node x out.
func (t *rbTree) remove(x int32) {
	n := t.nodes
	black := !n[x].red
	var up int32 // takes the place of the node that is missed
	switch {
	case n[x].left == 0:
		up = n[x].right
		t.replaceChild(x, up)
	case n[x].right == 0:
		up = n[x].left
		t.replaceChild(x, up)
	default:
		y := t.leftmost(n[x].right)
		black = !n[y].red
		up = n[y].right
		if n[y].parent == x {
			n[up].parent = y
		} else {
			t.replaceChild(y, up)
			n[y].right = n[x].right
			n[n[y].right].parent = y
		}
		t.replaceChild(x, y)
		n[y].left = n[x].left
		n[n[y].left].parent = y
		n[y].red = n[x].red
	}
	if black {
		t.fixBlack(up)
	}
	n[0].parent = 0
	n[x].left, n[x].right = 0, 0
	t.release(x)
}

// fixBlack restores the colors after one black is missing on every way through x.
func (t *rbTree) fixBlack(x int32) {
	n := t.nodes
	for x != t.root && !n[x].red {
		p := n[x].parent
		left := n[p].left == x
		s := n[p].left + n[p].right - x // the other child
		if n[s].red {
			n[s].red, n[p].red = false, true
			t.rotate(s)
			s = t.child(p, !left)
		}
		near, far := t.child(s, left), t.child(s, !left)
		if !n[near].red && !n[far].red {
			n[s].red = true
			x = p
			continue
		}
		if !n[far].red {
			n[near].red, n[s].red = false, true
			t.rotate(near)
			s, far = near, s
		}
		n[s].red, n[p].red, n[far].red = n[p].red, false, false
		t.rotate(s)
		x = t.root
	}
	n[x].red = false
}

func (t *rbTree) child(x int32, left bool) int32 {
	if left {
		return t.nodes[x].left
	}
	return t.nodes[x].right
}

// subtree is a tree of its own with a black root, or none: its root and black height.
type subtree struct {
	root   int32
	height int
}

// cut takes the subtree below x, of the given black height, off its parent.
func (t *rbTree) cut(x int32, height int) subtree {
	if x == 0 {
		return subtree{}
	}
	t.nodes[x].parent = 0
	if t.nodes[x].red {
		t.nodes[x].red = false
		height++
	}
	return subtree{x, height}
}

// join makes one tree of l, node x and r, in this order of keys. It takes as many steps
// as the black heights differ.
func (t *rbTree) join(l subtree, x int32, r subtree) subtree {
	n := t.nodes
	if l.height == r.height {
		n[x].left, n[x].right, n[x].parent, n[x].red = l.root, r.root, 0, false
		t.adopt(x)
		t.root = x
		return subtree{x, l.height + 1}
	}
	// x goes red on the inner side of the higher tree, over a subtree as high as the
	// lower one.
	high, low, leftHigh := l, r, true
	if r.height > l.height {
		high, low, leftHigh = r, l, false
	}
	y, parent, h := high.root, int32(0), high.height
	for h > low.height || n[y].red {
		parent = y
		if !n[y].red {
			h--
		}
		y = t.child(y, !leftHigh)
	}
	n[x].parent, n[x].red = parent, true
	if leftHigh {
		n[x].left, n[x].right = y, low.root
		n[parent].right = x
	} else {
		n[x].left, n[x].right = low.root, y
		n[parent].left = x
	}
	t.adopt(x)
	t.root = high.root
	if t.fixRed(x) {
		high.height++
	}
	return subtree{t.root, high.height}
}

// adopt makes x the parent of its children.
func (t *rbTree) adopt(x int32) {
	if c := t.nodes[x].left; c != 0 {
		t.nodes[c].parent = x
	}
	if c := t.nodes[x].right; c != 0 {
		t.nodes[c].parent = x
	}
}

// removeLeft takes out every node that ends at or below key x, by splitting the tree.
func (t *rbTree) removeLeft(x int64) {
	height := 0
	for y := t.root; y != 0; y = t.nodes[y].left {
		if !t.nodes[y].red {
			height++
		}
	}
	t.root = t.right(subtree{t.root, height}, x).root
}

// right is the part of s whose nodes end after key x; the rest is given back.
func (t *rbTree) right(s subtree, x int64) subtree {
	if s.root == 0 {
		return s
	}
	y, below := s.root, s.height-1 // the root is black
	n := &t.nodes[y]
	rest := t.cut(n.right, below)
	if n.run.End() <= x {
		n.right = 0
		t.release(y)
		return t.right(rest, x)
	}
	return t.join(t.right(t.cut(n.left, below), x), y, rest)
}

// check verifies the order, the links and the colors.
func (t *rbTree) check() error {
	if t.root == 0 {
		return nil
	}
	if t.nodes[0].red || t.nodes[0].parent != 0 || t.nodes[t.root].red || t.nodes[t.root].parent != 0 {
		return errors.New("the root or the node that is none is linked or red")
	}
	_, err := t.checkBelow(t.root)
	return err
}

// checkBelow gives the black height of the tree below x.
func (t *rbTree) checkBelow(x int32) (height int, err error) {
	if x == 0 {
		return 0, nil
	}
	n := &t.nodes[x]
	for _, c := range []int32{n.left, n.right} {
		switch {
		case c == 0:
		case t.nodes[c].parent != x:
			return 0, fmt.Errorf("%v has another parent than %v", t.nodes[c].run, n.run)
		case n.red && t.nodes[c].red:
			return 0, fmt.Errorf("%v and its child are red", n.run)
		}
	}
	if p := t.previous(x); p != 0 && t.nodes[p].run.End() > n.run.At {
		return 0, fmt.Errorf("%v comes before %v", t.nodes[p].run, n.run)
	}
	l, err := t.checkBelow(n.left)
	if err != nil {
		return 0, err
	}
	r, err := t.checkBelow(n.right)
	if err == nil && l != r {
		err = fmt.Errorf("black heights %d and %d below %v", l, r, n.run)
	}
	if !n.red {
		l++
	}
	return l, err
}
