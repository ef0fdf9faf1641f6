from model.conftest import *
from model.world import *
import pytest
def test_made_now(make_world):
    w = make_world(compare=False); w.begin()
    p0,p1,p2 = w.processes; c=w.conversations[0]
    a = w.write(p0,"ana",c,"append",batch([0],human=True)); w.step(a); print(a)
    d = w.write(p1,"ana",c,"delete"); w.finish(d); print(w.ledgers[c])
    r = w.read(p1,"ana",c,2); w.finish(r); print(w.hot.shadows)
    w.finish(a)
    w.look_ahead(); 
    w.finish(w.read(p1,"ana",c,2))
def test_busy(make_world):
    w = make_world(compare=False); w.begin()
    p0,p1,p2 = w.processes; c=w.conversations[0]
    w.finish(w.write(p0,"ana",c,"append",batch([0],human=True)))
    w.finish(w.read(p1,"ana",c,2))
    p0.cut=True
    w.finish(w.write(p0,"ana",c,"append",batch([1],human=True)))
    w.wait(4.5)
    a=w.read(p1,"ana",c,2); print(a)
    b=w.read(p1,"ana",c,2); print(b)
    w.finish(b)
def test_cancel(make_world):
    w = make_world(compare=False); w.begin()
    p0,p1,p2 = w.processes; c=w.conversations[0]
    w.finish(w.write(p0,"ana",c,"append",batch([0],human=True)))
    w.finish(w.read(p1,"ana",c,2))
    p0.cut=True
    w.finish(w.write(p0,"ana",c,"append",batch([1],human=True)))
    w.wait(4.5)
    a=w.read(p1,"ana",c,2); print(a); w.crash(a)
    b=w.read(p1,"ana",c,2); print(b)
    w.finish(b)
