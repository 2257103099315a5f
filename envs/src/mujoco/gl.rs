//! An OpenGL context without a window, from a library that is looked for at run time: EGL, else OSMesa.

use std::any::Any;
use std::ffi::{c_int, c_void};

use khronos_egl as egl;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// A context that is current in the thread that made it, until it is dropped there.
pub(super) struct GlContext {
    /// Held only to be dropped.
    _context: Box<dyn Any>,
}

impl GlContext {
    /// Makes a context for images of this size, in pixels, and makes it current.
    ///
    /// MuJoCo takes OpenGL's functions from the library that the variable `MUJOCO_GL` names (`egl` or `osmesa`), or else from the
    /// one that is loaded. So OSMesa is tried only where EGL fails or that variable names OSMesa.
    ///
    /// # Errors
    /// Why neither library gave a context, and what to install.
    pub(super) fn new(width: usize, height: usize) -> Result<Self, String> {
        let wanted = std::env::var("MUJOCO_GL").unwrap_or_default();
        let egl = || if wanted == "osmesa" { Err("MUJOCO_GL is osmesa".into()) } else { EglContext::new(width, height) };
        let osmesa = || if wanted == "egl" { Err("MUJOCO_GL is egl".into()) } else { OsMesaContext::new(width, height) };
        let without_egl = match egl() {
            Ok(context) => return Ok(Self { _context: Box::new(context) }),
            Err(reason) => reason,
        };
        match osmesa() {
            Ok(context) => Ok(Self { _context: Box::new(context) }),
            Err(without_osmesa) => Err(format!(
                "no OpenGL without a screen; EGL: {without_egl}; OSMesa: {without_osmesa} \
                 (Debian: `apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri`)"
            )),
        }
    }
}

/// Opens the first of these libraries that is there. MuJoCo looks its functions up in the whole process, hence `RTLD_GLOBAL`.
fn open(names: &[&str]) -> Result<Library, String> {
    let mut reason = String::new();
    for name in names {
        // SAFETY: these are the system's OpenGL libraries, whose initialisers expect to run at any time.
        match unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => return Ok(library),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

type Egl = egl::DynamicInstance<egl::EGL1_4>;

/// A context of EGL and the buffer that it draws to.
struct EglContext {
    egl: Egl,
    display: egl::Display,
    context: egl::Context,
    surface: egl::Surface,
}

impl EglContext {
    fn new(width: usize, height: usize) -> Result<Self, String> {
        let library = open(&["libEGL.so.1", "libEGL.so"])?;
        // SAFETY: the library is EGL, so its functions have the types that the specification gives them.
        let egl = unsafe { Egl::load_required_from(library.into()) }.map_err(|error| error.to_string())?;
        let mut reason = "no display".to_owned();
        for display in displays(&egl) {
            match Self::parts(&egl, display, width, height) {
                Ok((context, surface)) => return Ok(Self { egl, display, context, surface }),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    fn parts(egl: &Egl, display: egl::Display, width: usize, height: usize) -> Result<(egl::Context, egl::Surface), egl::Error> {
        egl.initialize(display)?;
        egl.bind_api(egl::OPENGL_API)?;
        let wanted = [
            (egl::SURFACE_TYPE, egl::PBUFFER_BIT),
            (egl::RENDERABLE_TYPE, egl::OPENGL_BIT),
            (egl::RED_SIZE, 8),
            (egl::GREEN_SIZE, 8),
            (egl::BLUE_SIZE, 8),
            (egl::DEPTH_SIZE, 24),
            (egl::STENCIL_SIZE, 8),
        ];
        let wanted: Vec<egl::Int> = wanted.into_iter().flat_map(|(key, value)| [key, value]).chain([egl::NONE]).collect();
        let config = egl.choose_first_config(display, &wanted)?.ok_or(egl::Error::BadConfig)?;
        let context = egl.create_context(display, config, None, &[egl::NONE])?;
        let size = [egl::WIDTH, width as egl::Int, egl::HEIGHT, height as egl::Int, egl::NONE];
        let surface = egl.create_pbuffer_surface(display, config, &size)?;
        egl.make_current(display, Some(surface), Some(surface), Some(context))?;
        Ok((context, surface))
    }
}

/// The displays of all devices (GPUs, and Mesa's in software), then the default one.
fn displays(egl: &Egl) -> Vec<egl::Display> {
    type Function = extern "system" fn();
    type QueryDevices = extern "system" fn(c_int, *mut *mut c_void, *mut c_int) -> egl::Boolean;
    type PlatformDisplay = extern "system" fn(egl::Enum, *mut c_void, *const egl::Int) -> *mut c_void;
    const PLATFORM_DEVICE: egl::Enum = 0x313F;
    let mut displays = Vec::new();
    let functions = (egl.get_proc_address("eglQueryDevicesEXT"), egl.get_proc_address("eglGetPlatformDisplayEXT"));
    if let (Some(query), Some(platform)) = functions {
        // SAFETY: the extensions EGL_EXT_device_enumeration and EGL_EXT_platform_base give these functions these types.
        let (query, platform) = unsafe {
            (std::mem::transmute::<Function, QueryDevices>(query), std::mem::transmute::<Function, PlatformDisplay>(platform))
        };
        let (mut devices, mut found) = ([std::ptr::null_mut(); 16], 0);
        if query(devices.len() as c_int, devices.as_mut_ptr(), &mut found) == egl::TRUE {
            for device in &devices[..found as usize] {
                let display = platform(PLATFORM_DEVICE, *device, std::ptr::null());
                if !display.is_null() {
                    // SAFETY: EGL has just made this display.
                    displays.push(unsafe { egl::Display::from_ptr(display) });
                }
            }
        }
    }
    // SAFETY: the default display is no pointer to anything.
    displays.extend(unsafe { egl.get_display(egl::DEFAULT_DISPLAY) });
    displays
}

impl Drop for EglContext {
    fn drop(&mut self) {
        // What cannot be given back now goes with the process.
        let _ = self.egl.make_current(self.display, None, None, None);
        let _ = self.egl.destroy_surface(self.display, self.surface);
        let _ = self.egl.destroy_context(self.display, self.context);
    }
}

/// A context of OSMesa, which draws into plain memory.
struct OsMesaContext {
    context: *mut c_void,
    destroy: extern "C" fn(*mut c_void),
    /// Four bytes a pixel; the context keeps its address.
    _image: Vec<u8>,
    /// Holds the functions.
    _library: Library,
}

impl OsMesaContext {
    fn new(width: usize, height: usize) -> Result<Self, String> {
        type Create = extern "C" fn(u32, c_int, c_int, c_int, *mut c_void) -> *mut c_void;
        type MakeCurrent = extern "C" fn(*mut c_void, *mut c_void, u32, c_int, c_int) -> u8;
        const RGBA: u32 = 0x1908;
        const UNSIGNED_BYTE: u32 = 0x1401;
        let library = open(&["libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"])?;
        // SAFETY: the library is OSMesa, whose header gives these functions these types.
        let functions = unsafe {
            library.get::<Create>(b"OSMesaCreateContextExt\0").and_then(|create| {
                let make_current = library.get::<MakeCurrent>(b"OSMesaMakeCurrent\0")?;
                let destroy = library.get::<extern "C" fn(*mut c_void)>(b"OSMesaDestroyContext\0")?;
                Ok((*create, *make_current, *destroy))
            })
        };
        let (create, make_current, destroy) = functions.map_err(|error| error.to_string())?;
        let context = create(RGBA, 24, 8, 0, std::ptr::null_mut());
        if context.is_null() {
            return Err("it makes no context".into());
        }
        let mut image = vec![0; 4 * width * height];
        let is_current = make_current(context, image.as_mut_ptr().cast(), UNSIGNED_BYTE, width as c_int, height as c_int);
        let made = Self { context, destroy, _image: image, _library: library };
        if is_current == 0 { Err("its context cannot be used".into()) } else { Ok(made) }
    }
}

impl Drop for OsMesaContext {
    fn drop(&mut self) {
        (self.destroy)(self.context);
    }
}
