import cProfile, pstats, os, sys, gc, asyncio
sys.path.insert(0, "/work/main")
from realtime_bridge import pump
if os.environ.get("REFILL"): pump.REFILL_SECONDS=float(os.environ["REFILL"])
if os.environ.get("HALF"):
    def toc(self, task):
        del self._in_hand[task]
        few = len(self._in_hand) <= self._slots // 2
        self._claim_by(self._clock() + (0.0 if few else pump.REFILL_SECONDS), "settled")
    pump.Pump._taken_care_of = toc
if os.environ.get("FREEZE"):
    orig = pump.Pump.run
    async def run(self):
        gc.collect(); gc.freeze(); 
        if os.environ["FREEZE"] != "1": gc.set_threshold(int(os.environ["FREEZE"]), 50, 100)
        await orig(self)
    pump.Pump.run = run
if os.environ.get("UVLOOP"):
    import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
from benchmarks.workers import bridge
if os.environ.get("PROF"):
    p = cProfile.Profile(); 
    orig0 = pump.Pump.run
    async def run0(self):
        p.enable(); await orig0(self)
    pump.Pump.run = run0
    try: bridge.main()
    finally:
        p.disable(); p.dump_stats(os.environ["PROF"])
else: bridge.main()
